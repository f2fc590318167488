# SPDX-License-Identifier: Apache-2.0
"""Tolerances of a trajectory that is followed as a goal: the rules of joint_trajectory_controller."""

from __future__ import annotations

import numpy as np
import pytest

from metarl_robot.core.errors import SignalError
from metarl_robot.trajectories.goal_tolerances import GoalCheck, GoalCode, GoalTolerances, JointLimit, Tolerances

NAMES = ("a", "b")
ZERO = np.zeros(2)


def check(time_s: float = 0.0) -> GoalCheck:
    path = Tolerances(np.array([0.1, 0.0]), ZERO)
    goal = Tolerances(np.array([0.01, 0.0]), np.array([0.05, 0.05]))
    return GoalCheck(NAMES, GoalTolerances(path, goal, time_s), end_s=2.0)


def test_an_error_on_the_way_beyond_the_path_tolerance_ends_the_goal() -> None:
    outcome = check().judge(1.0, np.array([-0.11, 0.0]), ZERO)
    assert outcome is not None
    assert outcome.code is GoalCode.PATH_TOLERANCE_VIOLATED
    assert outcome.text.startswith("Aborted due to path tolerance violation")
    assert "joint 'a': position error 0.110000, tolerance 0.100000" in outcome.text


def test_a_joint_without_tolerance_may_be_anywhere_on_the_way() -> None:
    assert check().judge(1.0, np.array([0.09, 3.0]), np.array([9.0, 9.0])) is None


def test_the_goal_is_reached_at_the_end_within_its_tolerances() -> None:
    assert check().judge(1.999, ZERO, ZERO) is None
    outcome = check().judge(2.0, np.array([0.009, 1.0]), np.array([0.04, -0.04]))
    assert outcome == (GoalCode.SUCCESSFUL, "Goal successfully reached!")


@pytest.mark.parametrize(("position", "velocity"), [([0.02, 0.0], [0.0, 0.0]), ([0.0, 0.0], [0.0, 0.06])])
def test_without_a_time_tolerance_an_unreached_goal_goes_on(position: list[float], velocity: list[float]) -> None:
    assert check().judge(1000.0, np.array(position), np.array(velocity)) is None


def test_an_unreached_goal_ends_after_the_time_tolerance() -> None:
    error = np.array([0.02, 0.0])
    assert check(0.5).judge(2.5, error, ZERO) is None
    outcome = check(0.5).judge(2.6, error, ZERO)
    assert outcome is not None
    assert outcome.code is GoalCode.GOAL_TOLERANCE_VIOLATED
    assert outcome.text.startswith("Aborted due to goal_time_tolerance exceeding by 0.600000 seconds")


def test_an_error_that_is_not_a_number_is_a_violation() -> None:
    outcome = check().judge(1.0, np.array([np.nan, 0.0]), ZERO)
    assert outcome is not None
    assert outcome.code is GoalCode.PATH_TOLERANCE_VIOLATED


def test_a_goal_changes_removes_or_keeps_each_default() -> None:
    defaults = Tolerances(np.array([0.1, 0.2]), np.array([0.3, 0.4]))
    changed = defaults.changed(NAMES, [JointLimit("b", 0.5, 0.0), JointLimit("a", -1.0, -1.0)], "path_tolerance")
    assert changed.position.tolist() == [0.0, 0.5]
    assert changed.velocity.tolist() == [0.0, 0.4]
    assert defaults.position.tolist() == [0.1, 0.2]  # not changed for later goals


@pytest.mark.parametrize("given", [-0.5, -2.0, np.nan, np.inf])
def test_another_value_is_refused(given: float) -> None:
    tolerances = check().tolerances
    with pytest.raises(SignalError, match=r"joint 'a': position is .*; allowed: above 0, 0 \(the default\) and -1"):
        tolerances.path.changed(NAMES, [JointLimit("a", given, 0.0)], "path_tolerance")
    with pytest.raises(SignalError, match="goal_time_tolerance"):
        tolerances.with_time(given)


def test_an_unknown_joint_is_refused() -> None:
    with pytest.raises(SignalError, match="joint 'c' in goal_tolerance does not exist"):
        check().tolerances.goal.changed(NAMES, [JointLimit("c", 0.1, 0.0)], "goal_tolerance")


def test_the_time_tolerance_of_a_goal_replaces_the_default() -> None:
    tolerances = check(0.5).tolerances
    assert [tolerances.with_time(given).time_s for given in (0.0, 2.0, -1.0)] == [0.5, 2.0, 0.0]
