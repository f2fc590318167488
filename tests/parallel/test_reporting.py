# SPDX-License-Identifier: Apache-2.0
"""Work in several processes reports its progress, gives the same results in order, and ends when interrupted."""

from __future__ import annotations

import os
import signal
import time

import pytest

from metarl_robot.parallel.reporting import Report, WorkerError, run_reporting


def squared(job: int, report: Report) -> tuple[int, int]:
    report(f"job {job}", 1, 1)
    return job**2, os.getpid()


def waiting(seconds: float, report: Report) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        report("waiting", 0, 1)
        time.sleep(0.01)


def ended(job: int, report: Report) -> None:
    os._exit(1)


def test_results_are_in_order_and_progress_is_reported_whatever_the_number_of_processes() -> None:
    jobs, said = [3, 1, 2], {}
    for processes in (1, 2):
        reports: list[tuple[str, int, int]] = []
        results = run_reporting(squared, jobs, processes, lambda *each, to=reports: to.append(each))
        assert [value for value, _ in results] == [9, 1, 4]
        assert (os.getpid() in {process for _, process in results}) == (processes == 1)
        said[processes] = sorted(reports)
    assert said[1] == said[2] == [(f"job {job}", 1, 1) for job in (1, 2, 3)]


def test_an_interrupt_ends_work_that_is_under_way() -> None:
    def interrupt(phase: str, done: int, total: int) -> None:
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run_reporting(waiting, [600.0, 600.0, 600.0], 2, interrupt)  # or it lasts for minutes


def test_a_process_that_is_ended_from_outside_is_named() -> None:
    with pytest.raises(WorkerError, match="--jobs 1"):
        run_reporting(ended, [1, 2], 2, lambda *each: None)
