# SPDX-License-Identifier: Apache-2.0
"""Feed-forward torques of a skid-steered vehicle: they invert the nominal dynamics, within the drives' range."""

from __future__ import annotations

import numpy as np
import pytest

from metarl_robot.core.robot import load_robot
from metarl_robot.robots.ground.description import GRAVITY_M_S2, Ground
from metarl_robot.robots.ground.dynamics import N_PARAMETERS, GroundDynamics
from metarl_robot.robots.ground.skid_efforts import SkidEfforts


@pytest.fixture(scope="module")
def husky() -> Ground:
    robot = load_robot("husky")
    assert isinstance(robot, Ground)
    return robot


def test_they_give_the_wanted_accelerations_in_the_nominal_model(husky: Ground) -> None:
    """Within 2 %: the model limits drive forces smoothly, and the grip left for cornering differs between the sides."""
    rng, weight = np.random.default_rng(3), husky.mass_kg * GRAVITY_M_S2
    motion = rng.uniform([0.0, -0.5, -1.0, -1.0], [1.0, 0.5, 1.0, 1.0], (40, 4))
    efforts, dynamics = SkidEfforts(husky, 40)(motion).copy(), GroundDynamics(husky)
    inertia = np.array([husky.mass_kg + husky.rolling_mass_kg, husky.yaw_inertia])
    for (speed, rate, *accelerations), effort in zip(motion, efforts, strict=True):
        force = dynamics.force(np.zeros(3), np.array([speed, 0.0, rate]), effort, np.zeros(N_PARAMETERS))
        error = force[[0, 2]] - inertia * accelerations
        assert np.all(np.abs(error) < 0.02 * weight * np.array([1.0, husky.track_m])), (speed, rate, accelerations)


def test_a_turn_mirrors(husky: Ground) -> None:
    left, right = SkidEfforts(husky, 2)(np.array([[0.8, 0.4, 0.5, 0.3], [0.8, -0.4, 0.5, -0.3]]))
    assert left == pytest.approx(right[::-1], abs=1e-9)
    assert left[1] > left[0]


def test_a_turn_on_the_spot_is_possible(husky: Ground) -> None:
    """With half the torque in reserve; for a large slip by the friction along the wheels' directions of sliding."""
    effort = SkidEfforts(husky)(np.array([[0.0, husky.velocity_limit[2], 0.0, 0.0]]))[0]
    x, y = 0.5 * husky.wheelbase_m, 0.5 * husky.track_m
    friction = husky.friction * husky.mass_kg * GRAVITY_M_S2 * husky.wheel_radius_m * x / (2.0 * np.hypot(x, y))
    assert effort == pytest.approx([-friction, friction], rel=0.1)
    assert np.all(np.abs(effort) < 0.5 * husky.effort_limit)
