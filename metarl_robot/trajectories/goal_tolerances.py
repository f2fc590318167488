# SPDX-License-Identifier: Apache-2.0
"""Tolerances of a trajectory that is followed as a goal, by the rules of joint_trajectory_controller (ros2_controllers,
Jazzy).

    t < end                    the goal fails once an error exceeds its path tolerance
    t >= end                   it succeeds once all errors are within the goal tolerances
    t > end + time tolerance   it fails; without a time tolerance (0) it waits

A tolerance of 0 is no limit. Accelerations are not checked, because states do not measure them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.errors import SignalError

Array = NDArray[np.float64]
NO_LIMIT = -1.0
"""Value in a goal that removes the default tolerance."""


class GoalCode(IntEnum):
    """Error codes of control_msgs/action/FollowJointTrajectory."""

    SUCCESSFUL = 0
    INVALID_GOAL = -1
    PATH_TOLERANCE_VIOLATED = -4
    GOAL_TOLERANCE_VIOLATED = -5


class Outcome(NamedTuple):
    """End of a goal. text: as joint_trajectory_controller words it, then the joint and its error."""

    code: GoalCode
    text: str


class JointLimit(NamedTuple):
    """Tolerances of one joint in a goal: position [rad or m], velocity [rad/s or m/s]; 0: the default, -1: none."""

    joint: str
    position: float
    velocity: float


@dataclass(frozen=True, eq=False)
class Tolerances:
    """Largest errors (n,): position [rad or m], velocity [rad/s or m/s]. 0: no limit."""

    position: Array
    velocity: Array

    def violation(self, names: Sequence[str], position: Array, velocity: Array) -> str | None:
        """The first joint whose error (n,) is too large, with the error; None if there is none."""
        quantities = (("position", position, self.position), ("velocity", velocity, self.velocity))
        for quantity, error, most in quantities:
            beyond = np.flatnonzero((most > 0.0) & ~(np.abs(error) <= most))
            if len(beyond):
                i = int(beyond[0])
                return f"joint '{names[i]}': {quantity} error {abs(error[i]):.6f}, tolerance {most[i]:.6f}"
        return None

    def changed(self, names: Sequence[str], limits: Sequence[JointLimit], field: str) -> Tolerances:
        """These tolerances with those of a goal. field: its name in the goal.

        Raises:
            SignalError: a joint that the robot lacks, or a value that is neither positive, 0 nor -1.
        """
        position, velocity = self.position.copy(), self.velocity.copy()
        for limit in limits:
            if limit.joint not in names:
                raise SignalError(f"joint '{limit.joint}' in {field} does not exist; the joints are {list(names)}")
            i = list(names).index(limit.joint)
            where = f"{field} of joint '{limit.joint}'"
            position[i] = _chosen(limit.position, float(position[i]), f"{where}: position")
            velocity[i] = _chosen(limit.velocity, float(velocity[i]), f"{where}: velocity")
        return Tolerances(position, velocity)


@dataclass(frozen=True)
class GoalTolerances:
    """Tolerances of a goal. time_s: how long after its end the goal may still be reached [s]; 0: any time."""

    path: Tolerances
    goal: Tolerances
    time_s: float

    def with_time(self, given_s: float) -> GoalTolerances:
        """These tolerances with the time tolerance of a goal: 0 keeps it, -1 removes it. Raises SignalError."""
        return GoalTolerances(self.path, self.goal, _chosen(given_s, self.time_s, "goal_time_tolerance"))


def _chosen(given: float, default: float, what: str) -> float:
    if given == NO_LIMIT:
        return 0.0
    if given == 0.0:
        return default
    if not (0.0 < given < np.inf):
        raise SignalError(f"{what} is {given}; allowed: above 0, 0 (the default) and -1 (no limit)")
    return given


@dataclass(frozen=True)
class GoalCheck:
    """Judges a robot that follows a goal. names: of its joints (n). end_s: time of the trajectory's last point [s]."""

    names: Sequence[str]
    tolerances: GoalTolerances
    end_s: float

    def judge(self, time_s: float, position: Array, velocity: Array) -> Outcome | None:
        """The end of the goal, or None while it goes on.

        position, velocity: errors (n,) at time_s, reference minus state.
        """
        if time_s < self.end_s:
            wrong = self.tolerances.path.violation(self.names, position, velocity)
            text = f"Aborted due to path tolerance violation: {wrong}"
            return None if wrong is None else Outcome(GoalCode.PATH_TOLERANCE_VIOLATED, text)
        wrong = self.tolerances.goal.violation(self.names, position, velocity)
        late_s = time_s - self.end_s
        if wrong is None:
            return Outcome(GoalCode.SUCCESSFUL, "Goal successfully reached!")
        if 0.0 < self.tolerances.time_s < late_s:
            text = f"Aborted due to goal_time_tolerance exceeding by {late_s:.6f} seconds: {wrong}"
            return Outcome(GoalCode.GOAL_TOLERANCE_VIOLATED, text)
        return None
