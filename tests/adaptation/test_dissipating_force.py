# SPDX-License-Identifier: Apache-2.0
"""Friction brakes every joint that moves; the force of one contact brakes some."""

from __future__ import annotations

import numpy as np
import pytest

import metarl_robot as mr
from metarl_robot.adaptation.dissipating_force import FRICTION_S, DissipatingForce
from metarl_robot.robots.arm.dynamics import ArmDynamics

PANDA = mr.load_robot("panda")
UNIT, DT = 0.002 * PANDA.effort_limit, 0.005
FRICTION = 0.05 * PANDA.effort_limit
V = np.array([0.3, -0.2, 0.4, 0.1, -0.3, 0.2, -0.5])


def time_s(force: np.ndarray, v: np.ndarray, longest_s: float = 2.0) -> float:
    """Time until a constant force is friction; inf: never."""
    tested = DissipatingForce(PANDA.velocity_limit)
    for step in range(1, round(longest_s / DT) + 1):
        if tested.update(force, UNIT, v, DT):
            return step * DT
    return np.inf


def test_a_force_that_brakes_all_joints_is_friction_and_its_size_is_known() -> None:
    assert time_s(-FRICTION * np.sign(V), V) == pytest.approx(FRICTION_S, abs=DT + 1e-9)
    tested = DissipatingForce(PANDA.velocity_limit)
    for v in (V, -V) * 20:
        tested.update(-FRICTION * np.sign(v), UNIT, v, DT)
    np.testing.assert_allclose(tested.size, FRICTION)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_force_that_drives_a_joint_or_acts_on_a_stopped_robot_is_no_friction(sign: float) -> None:
    force = -FRICTION * np.sign(V)
    assert time_s(-force, V) == np.inf, "along the motion"
    assert time_s(sign * force, 0.01 * V) == np.inf, "a stiff obstacle stops the robot"
    alone = np.where(np.arange(7) < 2, force, 0.0)
    assert time_s(alone, V) == np.inf, "two joints: a contact may brake them"
    driven = force.copy()
    driven[3] *= -1.0
    assert time_s(driven, V) == np.inf


def test_most_pushes_on_a_moving_tool_are_no_friction() -> None:
    """A constant force at the tool, while the arm moves along random sines; 14 of 50 brake all joints for a moment."""
    dynamics, rng, named = ArmDynamics(PANDA), np.random.default_rng(0), 0
    for _ in range(50):
        tested, push = DissipatingForce(PANDA.velocity_limit), 30.0 * rng.normal(size=3) / np.sqrt(3.0)
        omega, phase = rng.uniform(1.0, 4.0, 7), rng.uniform(-np.pi, np.pi, 7)
        for t in np.arange(0.0, 3.0, 0.02):
            q, v = PANDA.home + 0.2 * np.sin(omega * t + phase), 0.2 * omega * np.cos(omega * t + phase)
            if tested.update(dynamics.site_jacobian(q)[:3].T @ push, UNIT, v, 0.02):
                named += 1
                break
    assert named <= 15
