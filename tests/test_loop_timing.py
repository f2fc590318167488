# SPDX-License-Identifier: Apache-2.0
"""The loop's times as the plant counts them: latency, missed deadlines, jitter."""

from __future__ import annotations

import math

import pytest

from metarl_robot.ros_nodes.loop_timing import WINDOW_S, LoopTiming

PERIOD_S = 0.004


def test_prompt_late_and_missing_answers_are_told_apart() -> None:
    timing = LoopTiming(PERIOD_S)
    answers = {0: 0.001, 1: 0.002, 2: 0.005, 3: None}  # in time, in time, in the next period, never
    for k in range(5):
        for state, after in answers.items():
            if after is not None and state * PERIOD_S + after < k * PERIOD_S:
                timing.answered(state, state * PERIOD_S + after)
        timing.sent(k, k * PERIOD_S)
    times = timing.look()
    assert times.periods == 4
    assert times.missed == 2
    assert times.latency_ms_median == pytest.approx(2.0)
    assert times.latency_ms_max == pytest.approx(5.0)
    assert times.jitter_ms_p99 == pytest.approx(0.0, abs=1e-9)


def test_only_the_first_answer_counts_and_strangers_do_not() -> None:
    timing = LoopTiming(PERIOD_S)
    timing.sent(7, 0.0)
    timing.answered(7, 0.001)
    timing.answered(7, 0.003)
    timing.answered(8, 0.003)
    timing.answered(None, 0.003)
    timing.sent(8, PERIOD_S)
    assert timing.look().latency_ms_max == pytest.approx(1.0)
    assert timing.look().missed == 0


def test_what_is_older_than_the_window_is_forgotten() -> None:
    timing, count = LoopTiming(PERIOD_S), round(WINDOW_S / PERIOD_S)
    for k in range(100):  # nobody answers
        timing.sent(k, k * PERIOD_S)
    for k in range(100, 101 + count):
        timing.sent(k, k * PERIOD_S)
        timing.answered(k, k * PERIOD_S + 0.001)
    assert timing.look().missed == 0
    assert timing.look().periods == count


def test_nothing_is_known_before_the_first_state() -> None:
    times = LoopTiming(PERIOD_S).look()
    assert times.periods == times.missed == 0
    assert math.isnan(times.latency_ms_median)
    assert "missed=0" in str(times)
