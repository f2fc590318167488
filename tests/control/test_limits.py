# SPDX-License-Identifier: Apache-2.0
"""The effort limiter: every command is finite, within the limits and within the rate of the one before."""

from __future__ import annotations

import numpy as np
import pytest

from metarl_robot.control.effort_limits import EffortLimiter
from metarl_robot.core.robot import load_robot


@pytest.mark.parametrize("name", ["panda", "x500"])
def test_commands_are_the_nearest_that_are_allowed(name: str) -> None:
    robot, rng = load_robot(name, check_model=False), np.random.default_rng(0)
    limiter, last = EffortLimiter(robot), None
    step = robot.effort_rate_limit * robot.control_period_s
    for k in range(200):
        wanted = rng.uniform(-1.5, 1.5, len(step)) * robot.effort_limit
        if last is not None and k % 3:
            wanted = last + rng.uniform(-0.9, 0.9, len(step)) * step
        lower = robot.effort_lower if last is None else np.maximum(robot.effort_lower, last - step)
        upper = robot.effort_limit if last is None else np.minimum(robot.effort_limit, last + step)
        assert np.array_equal(limiter.bounds(), (lower, upper))
        effort = limiter.apply(wanted)
        last = np.clip(wanted, lower, upper)
        assert np.array_equal(effort, last) and np.array_equal(limiter.last, last)
        effort[:] = np.nan  # the caller owns the returned array


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_takes_the_last_value(broken: float) -> None:
    robot = load_robot("panda", check_model=False)
    limiter = EffortLimiter(robot)
    wanted = 0.1 * robot.effort_limit
    wanted[2] = broken
    first = limiter.apply(wanted)
    assert first[2] == 0.0 and np.array_equal(np.delete(first, 2), np.delete(wanted, 2))
    limiter.reset(0.2 * robot.effort_limit)
    assert limiter.apply(wanted)[2] == 0.2 * robot.effort_limit[2]
