# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C (SIGINT) in a command: exit code 130 and no traceback.

While the command itself is imported, it ends the process at once. Later it raises KeyboardInterrupt, which each command
handles. Native modules turn that into an ImportError if it arrives while they are imported, and Python prints and
forgets it in callbacks of its own: it is noted, so that the command can tell, and raised once more. Work that must not
be interrupted in the middle of a step asks between steps whether to stop.
"""

from __future__ import annotations

import _thread
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

INTERRUPTED = 130  # 128 + SIGINT, as shells have it
_noted = False


def end_at_once() -> None:
    """Let Ctrl-C end the process, before and after the command itself; nothing has to be completed then."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # set by a shell for its background jobs
        signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))


@contextmanager
def noted_interrupts() -> Iterator[None]:
    """Raise KeyboardInterrupt at Ctrl-C while the block runs, and note it for `is_interrupted`."""

    def on_signal(*_: Any) -> None:
        global _noted
        _noted = True
        raise KeyboardInterrupt

    def on_ignored(ignored: Any) -> None:
        if issubclass(ignored.exc_type, KeyboardInterrupt):
            _thread.interrupt_main()  # calls `on_signal` again, outside the callback
        else:
            before(ignored)

    before, sys.unraisablehook = sys.unraisablehook, on_ignored
    try:
        with nullcontext() if signal.getsignal(signal.SIGINT) is signal.SIG_IGN else _handled(on_signal):
            yield
    finally:
        sys.unraisablehook = before


def is_interrupted() -> bool:
    """Whether Ctrl-C was pressed since the command began."""
    return _noted


@contextmanager
def deferred_interrupt() -> Iterator[Callable[[], None]]:
    """Defer Ctrl-C while the block runs.

    The yielded function raises KeyboardInterrupt after the first Ctrl-C; a second Ctrl-C raises it immediately.
    """
    asked = False

    def on_signal(*_: Any) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True

    def check() -> None:
        if asked:
            raise KeyboardInterrupt

    with _handled(on_signal):
        yield check


@contextmanager
def _handled(on_signal: Callable[..., None]) -> Iterator[None]:
    before = signal.signal(signal.SIGINT, on_signal)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
