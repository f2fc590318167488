# SPDX-License-Identifier: Apache-2.0
"""Limits of efforts for many robots at once; EffortLimiter has those of one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.robot import Robot

Array = NDArray[np.float64]


def limited(robot: Robot, effort: Array, last: Array | None) -> Array:
    """Efforts (N, nu) within the robot's limits, and within its rate from the last period's (N, nu), if any."""
    if last is not None:
        step = robot.effort_rate_limit * robot.control_period_s
        effort = np.clip(effort, last - step, last + step)
    return np.clip(effort, robot.effort_lower, robot.effort_limit)
