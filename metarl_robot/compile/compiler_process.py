# SPDX-License-Identifier: Apache-2.0
"""Compilers as processes that an interrupt ends.

A compiler starts further processes (cc1, as, ld), and only ends them with its process group; so it has one of its own.
A signal that arrives just before the main thread waits, or in another thread, is handled when that wait ends; so all
waits are short.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from time import monotonic
from typing import TypeVar

_WAIT_S = 0.1
_END_WITHIN_S = 2.0  # a compiler removes its temporary files first

Item = TypeVar("Item")
Result = TypeVar("Result")

_running: set[subprocess.Popen[bytes]] = set()
_ended: set[subprocess.Popen[bytes]] = set()
_stopped = False


class CompilationStopped(BaseException):
    """Compilers were ended because this process ends. Not an Exception: nothing shall go on without compiled code."""


def run_compiler(command: Sequence[str], timeout_s: float) -> None:
    """Run a compiler to its end; an exception meanwhile, such as KeyboardInterrupt, ends it.

    Raises:
        subprocess.CalledProcessError: it failed; with its standard error.
        subprocess.TimeoutExpired: it took longer.
        CompilationStopped: see stop_compilers, end_compilers.
    """
    check_not_stopped()
    nothing, pipe = subprocess.DEVNULL, subprocess.PIPE
    process = subprocess.Popen(command, stdin=nothing, stdout=nothing, stderr=pipe, start_new_session=True)
    _running.add(process)
    try:
        check_not_stopped()
        said = _standard_error(process, monotonic() + timeout_s, timeout_s)
    except BaseException:
        _end(process)
        raise
    finally:
        _running.discard(process)
    if process in _ended:
        _ended.discard(process)
        raise CompilationStopped
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, stderr=said)


def in_parallel(do: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """[do(item), ...] in threads that run compilers; an interrupt ends the compilers."""
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        made = [pool.submit(do, item) for item in items]
        try:
            while wait(made, timeout=_WAIT_S).not_done:
                check_not_stopped()
            return [each.result() for each in made]
        except (KeyboardInterrupt, SystemExit, CompilationStopped):
            pool.shutdown(wait=False, cancel_futures=True)
            end_compilers()
            raise


def check_not_stopped() -> None:
    """Raise CompilationStopped after stop_compilers."""
    if _stopped:
        raise CompilationStopped


def is_stopped() -> bool:
    """Whether stop_compilers was called."""
    return _stopped


def end_compilers() -> None:
    """End the compilers that run now; their callers get CompilationStopped. Safe in a signal handler."""
    for process in tuple(_running):
        _ended.add(process)
        _signal(process, signal.SIGTERM)


def stop_compilers() -> None:
    """End compilers, and start none any more: this process is to end. Safe in a signal handler."""
    global _stopped
    _stopped = True
    end_compilers()


def _standard_error(process: subprocess.Popen[bytes], end_s: float, timeout_s: float) -> bytes:
    """Wait for a compiler. Raises subprocess.TimeoutExpired."""
    while True:
        try:
            return process.communicate(timeout=_WAIT_S)[1]
        except subprocess.TimeoutExpired as error:
            if monotonic() > end_s:
                raise subprocess.TimeoutExpired(error.cmd, timeout_s) from error


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a compiler, and wait until it has ended."""
    _signal(process, signal.SIGTERM)
    try:
        process.communicate(timeout=_END_WITHIN_S)
    except subprocess.TimeoutExpired:
        _signal(process, signal.SIGKILL)
        process.communicate()


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
