# SPDX-License-Identifier: Apache-2.0
"""NED/FRD and ENU/FLU: round trips, known poses, and agreement with rotation matrices."""

from __future__ import annotations

import numpy as np
import pytest

from metarl_robot.core import rotation
from metarl_robot.robots.quadrotor.autopilot import frames

WORLD = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, -1.0]])  # rows: east, north, up in north, east, down
BODY = np.diag([1.0, -1.0, -1.0])


@pytest.fixture
def attitudes() -> np.ndarray:
    rng = np.random.default_rng(0)
    return rotation.normalise(rng.normal(size=(200, 4)))


def test_forth_and_back_is_the_identity(attitudes: np.ndarray) -> None:
    vectors = attitudes[:, 1:]
    assert np.array_equal(frames.world(frames.world(vectors)), vectors)
    assert np.array_equal(frames.body(frames.body(vectors)), vectors)
    assert np.allclose(frames.attitude(frames.attitude(attitudes)), attitudes, atol=1e-15)


def test_an_attitude_turns_vectors_as_the_matrices_do(attitudes: np.ndarray) -> None:
    expected = WORLD @ rotation.to_matrix(attitudes) @ BODY
    assert np.allclose(rotation.to_matrix(frames.attitude(attitudes)), expected, atol=1e-14)


def test_a_vector_of_the_body_has_the_same_place_in_the_world_both_ways(attitudes: np.ndarray) -> None:
    vectors = np.random.default_rng(1).normal(size=(200, 3))
    ours = rotation.rotate(attitudes, vectors)
    theirs = rotation.rotate(frames.attitude(attitudes), frames.body(vectors))
    assert np.allclose(frames.world(theirs), ours, atol=1e-14)


@pytest.mark.parametrize(
    ("angles_deg", "forward", "up"),
    [  # roll, pitch, yaw as an autopilot shows them → body x and z in ENU
        ((0.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),  # level, facing north
        ((0.0, 0.0, 90.0), (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)),  # facing east
        ((0.0, 0.0, 180.0), (0.0, -1.0, 0.0), (0.0, 0.0, 1.0)),  # facing south
        ((0.0, 90.0, 0.0), (0.0, 0.0, 1.0), (0.0, -1.0, 0.0)),  # nose up, facing north: top towards south
        ((90.0, 0.0, 0.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0)),  # rolled right, facing north: top towards east
        ((0.0, -30.0, 0.0), (0.0, 0.75**0.5, -0.5), (0.0, 0.5, 0.75**0.5)),  # nose down: thrust pulls north
    ],
)
def test_known_poses(angles_deg: tuple[float, ...], forward: tuple[float, ...], up: tuple[float, ...]) -> None:
    q = frames.attitude(frames.attitude_of_angles(*np.radians(angles_deg)))
    assert np.allclose(rotation.rotate(q, np.array([1.0, 0.0, 0.0])), forward, atol=1e-12)
    assert np.allclose(rotation.up(q), up, atol=1e-12)


def test_gravity_and_turns_have_the_right_signs() -> None:
    assert np.array_equal(frames.world(np.array([1.0, 2.0, -3.0])), [2.0, 1.0, 3.0])  # 1 m north, 2 m east, 3 m up
    assert np.array_equal(frames.body(np.array([0.0, 0.0, -9.81])), [0.0, 0.0, 9.81])  # at rest on a table
    assert np.array_equal(frames.body(np.array([0.1, 0.2, 0.3])), [0.1, -0.2, -0.3])  # nose up: negative in FLU


def test_yaw_is_measured_from_the_other_axis_the_other_way() -> None:
    for yaw_ned in np.radians([-170.0, -20.0, 0.0, 45.0, 130.0]):
        q = frames.attitude(frames.attitude_of_angles(0.0, 0.0, yaw_ned))
        expected = np.pi / 2.0 - yaw_ned
        assert np.isclose(np.cos(rotation.yaw(q) - expected), 1.0, atol=1e-12)
