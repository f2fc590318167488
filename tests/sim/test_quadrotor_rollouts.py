# SPDX-License-Identifier: Apache-2.0
"""Rollouts of quadrotors for learning: decided by the seed, within limits,
and forces are consistent with motion.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from metarl_robot.core import rotation
from metarl_robot.core.robot import load_robot
from metarl_robot.robots.quadrotor.description import GRAVITY_M_S2, MotorModel
from metarl_robot.sim.dataset import DataSet, collect
from metarl_robot.sim.quadrotor.ranges import TRAIN

ROBOTS = {name: load_robot(name) for name in ("x500", "hummingbird", "crazyflie")}
X500 = ROBOTS["x500"]
NOTHING = replace(
    TRAIN,
    payload_probability=0.0,
    wind_probability=0.0,
    weak_probability=0.0,
    drag_scale=(0.0, 0.0),
    battery=(1.0, 1.0),
)


@pytest.fixture(scope="module")
def data() -> DataSet:
    return collect(X500, 12, 3, duration_s=0.8)


def test_arrays_have_their_shapes_and_ranges(data) -> None:
    assert (data.robot, data.kind, len(data.tasks)) == ("x500", "quadrotor", 12)
    assert data.q.shape == data.q_measured.shape == (12, 161, 7)
    assert data.v.shape == data.v_measured.shape == (12, 161, 6)
    assert data.specific_force.shape == data.specific_force_measured.shape == (12, 161, 3)
    assert data.effort.shape == data.acting.shape == (12, 160, 4)
    for name in ("q", "v", "effort", "acting", "specific_force_measured"):
        assert np.all(np.isfinite(getattr(data, name)))
    assert data.effort.min() >= X500.effort_lower[0] - 1e-6
    assert data.effort.max() <= X500.effort_limit[0] + 1e-6
    assert rotation.tilt(data.q[..., 3:].astype(float)).max() < np.deg2rad(85.0)
    np.testing.assert_allclose(np.linalg.norm(data.q_measured[..., 3:], axis=-1), 1.0, atol=1e-6)


def test_the_seed_decides_and_the_number_of_threads_does_not(data) -> None:
    assert collect(X500, 12, 3, duration_s=0.8, threads=1).sha256() == data.sha256()
    assert collect(X500, 12, 4, duration_s=0.8).sha256() != data.sha256()
    assert collect(X500, 12, 3, suite="heldout", duration_s=0.8).sha256() != data.sha256()


def test_data_survive_a_file(data, tmp_path: Path) -> None:
    data.save(tmp_path / "data.npz")
    again = DataSet.load(tmp_path / "data.npz")
    assert again.sha256() == data.sha256()
    assert again.tasks[3].to_dict() == data.tasks[3].to_dict()


@pytest.mark.parametrize("robot", ROBOTS.values(), ids=ROBOTS)
def test_undisturbed_motion_is_that_of_the_nominal_rotors(robot) -> None:
    data = collect(robot, 6, 1, duration_s=0.6, ranges=NOTHING)
    period = robot.control_period_s
    q, v = data.q.astype(float), data.v.astype(float)
    middle = rotation.integrate(q[:, :-1, 3:], v[:, :-1, 3:], 0.5 * period)
    lift = np.diff(v[..., :3], axis=1) / period + [0.0, 0.0, GRAVITY_M_S2]
    thrust = data.acting.sum(-1) / robot.mass_kg
    np.testing.assert_allclose(rotation.rotate_back(middle, lift)[..., 2], thrust, atol=0.02 * GRAVITY_M_S2)
    torque = (data.acting @ robot.allocation[1:].T).astype(float)
    turning = np.diff(v[..., 3:], axis=1) / period @ robot.inertia
    rate = 0.5 * (v[:, 1:, 3:] + v[:, :-1, 3:])
    turning += rotation.cross(rate, rate @ robot.inertia)
    np.testing.assert_allclose(turning, torque, atol=0.02 * np.abs(torque).max())
    np.testing.assert_allclose(data.specific_force[:, 1:, 2], thrust, atol=0.02 * GRAVITY_M_S2)


def test_what_acts_follows_from_what_was_commanded() -> None:
    data = collect(X500, 4, 2, duration_s=0.5, ranges=replace(NOTHING, latency_s=(0.0, 0.0)))
    for task in range(4):
        motors = MotorModel(X500, X500.hover_thrust)
        for k in range(100):
            mean = motors.advance(data.effort[task, k].astype(float), X500.control_period_s)
            np.testing.assert_allclose(data.acting[task, k], mean, rtol=5e-3)
