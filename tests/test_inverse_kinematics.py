# SPDX-License-Identifier: Apache-2.0
"""Joint positions for poses of an arm's tool: exact, within limits, or refused."""

from __future__ import annotations

import numpy as np
import pytest

from metarl_robot.core import rotation
from metarl_robot.core.errors import SignalError
from metarl_robot.core.robot import load_robot
from metarl_robot.robots.arm.inverse_kinematics import InverseKinematics, ToolPose

PANDA = load_robot("panda")
TOOL = InverseKinematics(PANDA)


def test_poses_near_the_present_one_are_reached_nearby() -> None:
    rng = np.random.default_rng(1000)
    for _ in range(50):
        start = PANDA.home + rng.uniform(-0.4, 0.4, 7)
        near = start + rng.uniform(-0.2, 0.2, 7)
        wanted = TOOL.pose(near)
        q = TOOL.solve(wanted, start)
        found = TOOL.pose(q)
        assert np.abs(found.position_m - wanted.position_m).max() < 1e-5
        assert np.linalg.norm(rotation.error(found.attitude, wanted.attitude)) < 1e-5
        assert np.all((q >= PANDA.position_lower) & (q <= PANDA.position_upper))
        assert np.abs(q - start).max() < 1.0


def test_poses_anywhere_in_reach_are_found_from_anywhere() -> None:
    rng, lower, upper = np.random.default_rng(1000), PANDA.position_lower, PANDA.position_upper
    found = 0
    for _ in range(40):
        wanted = TOOL.pose(rng.uniform(lower, upper))
        try:
            q = TOOL.solve(wanted, rng.uniform(lower, upper))
        except SignalError:
            continue
        assert np.abs(TOOL.pose(q).position_m - wanted.position_m).max() < 1e-5
        assert np.all((q >= lower) & (q <= upper))
        found += 1
    assert found >= 38


def test_any_attitude_may_be_left_open() -> None:
    planar = load_robot("planar2")
    tool = InverseKinematics(planar)
    wanted = tool.pose(np.array([0.3, 0.8]))
    q = tool.solve(ToolPose(wanted.position_m, None), planar.home)
    assert np.allclose(tool.pose(q).position_m, wanted.position_m, atol=1e-5)


def test_out_of_reach_says_how_far() -> None:
    with pytest.raises(SignalError, match=r"nearest found \d+ mm and \d+ degrees from it"):
        TOOL.solve(ToolPose(np.array([2.0, 0.0, 0.5]), None), PANDA.home)


def test_the_same_question_has_the_same_answer() -> None:
    wanted = TOOL.pose(PANDA.home + 0.3)
    assert np.array_equal(TOOL.solve(wanted, PANDA.home), TOOL.solve(wanted, PANDA.home))
