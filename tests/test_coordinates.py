# SPDX-License-Identifier: Apache-2.0
"""A base's pose from its coordinates, also with a heading in place of an attitude."""

from __future__ import annotations

import numpy as np
import pytest

from metarl_robot.core import rotation
from metarl_robot.core.coordinates import HEADING, POSE, TWIST, BaseCoordinates, Coordinates
from metarl_robot.core.errors import RobotError

PLANAR = Coordinates((*POSE[:2], HEADING), (*TWIST[:2], TWIST[5]), ())


def test_a_heading_is_the_attitude_of_a_level_base_and_comes_back() -> None:
    base = BaseCoordinates(PLANAR)
    for yaw in (-3.0, -0.5, 0.0, 2.0, 3.1):
        pose = base.pose(np.array([1.0, -2.0, yaw]))
        np.testing.assert_allclose(pose[3:], rotation.from_yaw(yaw))
        np.testing.assert_array_equal(pose[:3], [1.0, -2.0, 0.0])
        np.testing.assert_allclose(base.q(pose), [1.0, -2.0, yaw], atol=1e-12)


def test_a_quaternion_of_another_length_or_sign_has_the_same_heading() -> None:
    base, pose = BaseCoordinates(PLANAR), BaseCoordinates(PLANAR).pose(np.array([0.0, 0.0, 2.0]))
    for factor in (-1.0, 1.009, 0.991):
        assert base.q(np.concatenate([pose[:3], factor * pose[3:]]))[2] == pytest.approx(2.0)


def test_an_attitude_and_a_heading_exclude_each_other() -> None:
    with pytest.raises(RobotError, match="one of the two"):
        BaseCoordinates(Coordinates((*POSE, HEADING), TWIST, ()))
    with pytest.raises(RobotError, match="'elbow'"):
        BaseCoordinates(Coordinates(("elbow", HEADING), TWIST, ()))
