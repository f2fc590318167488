"""Stamps and states that come in."""

from __future__ import annotations

import numpy as np
import pytest

from metarl_robot.intake import MAX_STEP_S, Rejection, StampFilter, StateIntake
from metarl_robot.robot import load_robot
from metarl_robot.signals import State

ROBOT = load_robot("planar2", check_model=False)
GOOD = State(np.array([0.1, 0.2]), np.zeros(2))


def test_advancing_stamps_pass_and_repeated_ones_do_not() -> None:
    stamps = StampFilter()
    assert [stamps.check(t) for t in (1.0, 1.1, 1.1, 1.2)] == [None, None, Rejection.DUPLICATE, None]


@pytest.mark.parametrize(("stamp", "why"), [(0.5, Rejection.STAMP_BACKWARDS), (1.0 + 2 * MAX_STEP_S, Rejection.STAMP_JUMPED)])
def test_one_wrong_stamp_is_refused_and_three_that_agree_are_a_new_clock(stamp: float, why: Rejection) -> None:
    stamps = StampFilter()
    stamps.check(1.0)
    twice = Rejection.DUPLICATE
    assert [stamps.check(stamp + 0.01 * k) for k in (0, 0, 1, 1, 2)] == [why, twice, why, twice, None]
    assert stamps.epoch == 1 and stamps.last_s == pytest.approx(stamp + 0.02)


def test_wrong_stamps_that_do_not_agree_never_become_a_clock() -> None:
    stamps = StampFilter()
    stamps.check(100.0)
    rng = np.random.default_rng(0)
    assert all(stamps.check(t) is not None for t in rng.uniform(0, 50, 200).round()[::-1] if t)
    assert stamps.epoch == 0


@pytest.mark.parametrize(
    ("state", "why"),
    [
        (State(np.zeros(3), np.zeros(2)), Rejection.SIZE),
        (State(np.zeros(2), np.zeros(1)), Rejection.SIZE),
        (State(np.array([np.nan, 0.0]), np.zeros(2)), Rejection.NOT_FINITE),
        (State(np.zeros(2), np.array([0.0, -np.inf])), Rejection.NOT_FINITE),
        (State(np.array([1e6, 0.0]), np.zeros(2)), Rejection.IMPLAUSIBLE),
    ],
)
def test_unusable_states_are_counted_and_the_last_good_one_kept_while_time_goes_on(state: State, why: Rejection) -> None:
    intake = StateIntake(ROBOT)
    assert intake.offer(GOOD, 1.0, 0.0) is None
    assert intake.offer(state, 1.1, 0.0) is why
    assert intake.rejections[why.value] == 1
    assert intake.latest is not None and intake.latest.state is GOOD and intake.time_s == 1.1


def test_a_new_time_base_forgets_the_old_state() -> None:
    intake = StateIntake(ROBOT)
    intake.offer(GOOD, 50.0, 0.0)
    broken = State(np.full(2, np.nan), np.zeros(2))
    for t in (1.0, 1.01, 1.02):
        intake.offer(broken, t, 0.0)
    assert intake.epoch == 1 and intake.latest is None
