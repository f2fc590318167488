# SPDX-License-Identifier: Apache-2.0
"""Long work items in several processes, which report their progress while they run and end early when asked.

Results do not depend on the number of processes. An interrupt (Ctrl-C) is handled by the calling process alone: its
workers ignore the signal, and end with their next report.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from queue import Empty
from typing import Any, TypeVar

from metarl_robot.core.errors import MetaRLError
from metarl_robot.parallel.environment import environment
from metarl_robot.parallel.interrupts import ignoring_interrupts, interrupts_blocked
from metarl_robot.parallel.processes import ONE_THREAD

Job = TypeVar("Job")
Result = TypeVar("Result")
Report = Callable[[str, int, int], None]
"""Takes a phase, its work done, and its whole work."""

_EVERY_S = 0.1
_channel: tuple[Any, Any] | None = None


class WorkerError(MetaRLError):
    """A process ended before its work did."""

    bad_input = False


def run_reporting(
    do: Callable[[Job, Report], Result], work: Sequence[Job], processes: int, report: Report
) -> list[Result]:
    """Results of do(job, report) for each job, in the order of the jobs. `do`, jobs and results can be pickled.

    processes: their number; 0: one for each processor; 1: all in this process.

    Raises:
        WorkerError: a process was ended from outside, as by want of memory.
    """
    most = min(processes or len(os.sched_getaffinity(0)), len(work))
    if most <= 1:
        return [do(job, report) for job in work]
    context = get_context("spawn")
    reports, stop = context.Queue(), context.Event()
    with (
        environment(ONE_THREAD),
        ProcessPoolExecutor(most, mp_context=context, initializer=_begin, initargs=(reports, stop)) as pool,
        _named_failure(most),
    ):
        try:
            with interrupts_blocked():
                made = [pool.submit(_work, do, job) for job in work]
            left = set(made)
            while left:
                ended, left = wait(left, timeout=_EVERY_S, return_when=FIRST_COMPLETED)
                for each in ended:
                    each.result()
                _pass_on(reports, report)
            pool.shutdown(wait=True)  # a process sends its last reports in a thread, and ends after it
            _pass_on(reports, report)
            return [each.result() for each in made]
        finally:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _named_failure(processes: int) -> Iterator[None]:
    try:
        yield
    except BrokenProcessPool as error:
        raise WorkerError(
            f"one of {processes} processes was ended from outside, as by want of memory: use fewer, as with --jobs 1"
        ) from error


def _pass_on(reports: Any, report: Report) -> None:
    """Pass on what has arrived."""
    while True:
        try:
            said = reports.get_nowait()
        except Empty:
            return
        report(*said)


def _begin(reports: Any, stop: Any) -> None:
    """In a new process: where its work reports to."""
    global _channel
    _channel = reports, stop
    ignoring_interrupts()


def _work(do: Callable[[Any, Report], Any], job: Any) -> Any:
    gc.freeze()  # modules are not searched for garbage again and again: 3 % of the time of `metarl log eval`
    return do(job, _report)


def _report(phase: str, done: int, total: int) -> None:
    assert _channel is not None
    reports, stop = _channel
    if stop.is_set():
        raise KeyboardInterrupt
    reports.put((phase, done, total))
