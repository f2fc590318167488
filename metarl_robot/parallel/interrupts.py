# SPDX-License-Identifier: Apache-2.0
"""The end of the worker processes of a pool: at Ctrl-C none shows a traceback or is waited for; none is left behind.

A terminal sends SIGINT to all processes of a command. A new worker imports modules for seconds, natively in part, where
an exception is printed or turned into another one. So workers start with the signal blocked. `until_interrupted` lets
them end at once outside of jobs; a job gets a KeyboardInterrupt, and those after it as well. Workers end with their
parent, also where SIGTERM or SIGKILL ended it.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import active_children, parent_process, resource_tracker
from threading import Thread
from typing import Any, TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")

_SIGINT = frozenset({signal.SIGINT})
_working = _asked = False


@contextmanager
def interrupts_blocked() -> Iterator[None]:
    """Start worker processes with SIGINT blocked; this process handles it after the block."""
    resource_tracker.ensure_running()  # multiprocessing starts it with the first worker, and then unblocks SIGINT
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGINT)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def until_interrupted() -> None:
    """In a new worker: end at SIGINT, also at one that has come already."""
    _end_with_parent()
    signal.signal(signal.SIGINT, _on_signal)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGINT)


def ignoring_interrupts() -> None:
    """In a new worker: ignore SIGINT."""
    _end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGINT)


def _end_with_parent() -> None:
    """In a new worker: end when its parent has ended."""

    def wait() -> None:
        if (parent := parent_process()) is not None:
            parent.join()
            os._exit(1)

    Thread(target=wait, name="parent watch", daemon=True).start()


def interruptible(do: Callable[[Job], Result], job: Job) -> Result:
    """Call do(job) in a worker. Raises KeyboardInterrupt at SIGINT."""
    global _working
    if _asked:
        raise KeyboardInterrupt
    _working = True
    try:
        return do(job)
    finally:
        _working = False


def interrupt_workers() -> None:
    """Send SIGINT to this process's workers."""
    for worker in active_children():
        if worker.pid is not None:
            os.kill(worker.pid, signal.SIGINT)


def _on_signal(*_: Any) -> None:
    global _asked
    if not _working:
        os._exit(128 + signal.SIGINT)
    _asked = True
    raise KeyboardInterrupt
