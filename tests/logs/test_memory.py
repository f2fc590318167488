# SPDX-License-Identifier: Apache-2.0
"""An evaluation keeps no recording: its memory is that of the longest one, and grows slowly with its duration."""

from __future__ import annotations

import tracemalloc
import weakref
from collections.abc import Iterator

import numpy as np
import pytest

from metarl_robot.core.robot import load_robot
from metarl_robot.logs.recording import Recording
from metarl_robot.logs.replay import evaluate_all

ROBOT = load_robot("planar2")
HZ = 1000.0
SAMPLE_BYTES = 8 * (1 + 3 * ROBOT.dof)
"""Of a recording: time, positions, velocities, efforts."""


def made(seconds: float) -> Recording:
    """A motion at 1 kHz."""
    time_s = np.arange(0.0, seconds, 1.0 / HZ)
    rate = np.array([3.0, 2.0])
    angle = rate * time_s[:, None]
    efforts = np.full_like(angle, 0.5)
    return Recording("made", time_s, ROBOT.home + 0.3 * np.sin(angle), 0.3 * rate * np.cos(angle), efforts)


def peak(count: int, seconds: float) -> int:
    """Largest memory [bytes] during an evaluation of recordings that are made when they are taken."""

    def recordings() -> Iterator[Recording]:
        for _ in range(count):
            yield made(seconds)

    tracemalloc.start()
    try:
        found = evaluate_all(ROBOT, recordings(), ("disturbance_observer",))
        assert len(found) == count and all(len(each.time_s) > 5.0 * seconds for each in found)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.fixture(scope="module")
def of_one() -> int:
    peak(1, 2.0)  # what is loaded and compiled once
    return peak(1, 6.0)


def test_memory_does_not_grow_with_the_number_of_recordings(of_one: int) -> None:
    assert peak(4, 6.0) < of_one + 3 * 6.0 * HZ * 0.3 * SAMPLE_BYTES


def test_memory_grows_with_the_duration_by_a_few_times_what_the_samples_hold(of_one: int) -> None:
    assert peak(1, 18.0) < of_one + 12.0 * HZ * 3.0 * SAMPLE_BYTES


def test_no_recording_is_kept_while_predictors_run() -> None:
    """Not even the last one: an hour at 1 kHz of an arm with seven joints is 600 MB."""
    given: list[weakref.ref[Recording]] = []
    alive: list[int] = []

    def recordings() -> Iterator[Recording]:
        for _ in range(2):
            one = made(2.0)
            given.append(weakref.ref(one))
            yield one

    def report(phase: str, done: int, total: int) -> None:
        if phase != "measure":
            alive.append(sum(each() is not None for each in given))

    evaluate_all(ROBOT, recordings(), ("disturbance_observer",), report)
    assert len(given) == 2 and alive and max(alive) == 0
