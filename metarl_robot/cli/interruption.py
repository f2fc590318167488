# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C at a moment that suits: work that must not be torn apart in the middle asks now and then whether it shall
stop.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def deferred_interrupt() -> Iterator[Callable[[], None]]:
    """While the block runs, the first Ctrl-C only makes the yielded function raise KeyboardInterrupt; a second one
    raises it at once.
    """
    asked = False

    def on_signal(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True

    def check() -> None:
        if asked:
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, on_signal)
    try:
        yield check
    finally:
        signal.signal(signal.SIGINT, before)
