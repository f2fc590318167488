# SPDX-License-Identifier: Apache-2.0
"""Rotor inertia that differs from the nominal armature is found, and regressors with noise do not enlarge it."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest

from metarl_robot.adaptation.factory import filter_tuning
from metarl_robot.adaptation.features import FeatureMap, Interval, Series, Xi
from metarl_robot.adaptation.filter_tuning import Prior
from metarl_robot.adaptation.momentum_filter import MomentumFilter
from metarl_robot.adaptation.tuning import AdapterTuning
from metarl_robot.core.robot import load_robot
from metarl_robot.core.signals import State
from metarl_robot.robots.arm.dynamics import ArmDynamics
from metarl_robot.robots.arm.features.armature import SPEC, ArmatureFeatures

ROBOT = load_robot("planar2")
ARMATURE = np.array([0.02, 0.03])


def test_impulse_value_and_jacobian_agree_with_the_design() -> None:
    rng, group, z = np.random.default_rng(0), ArmatureFeatures(ARMATURE), np.array([-0.4])
    q, v, a = rng.standard_normal((3, 1, 2))
    xi = Xi(q, v, a, q, np.stack([q, q]))
    assert np.allclose(group.value(xi, z), group.design(xi) @ z)
    balance = ArmDynamics(ROBOT).balance(q[0], v[0], v[0] + 0.01 * a[0], 0.01, np.zeros(10))
    interval = Interval(q[0], v[0], v[0] + 0.01 * a[0], q[0], np.stack([q[0], q[0]]), 0.01, balance)
    assert np.allclose(group.impulse(interval), 0.01 * group.design(xi)[0])
    assert np.allclose(group.jacobian(xi, z)[0, :, 4:] @ a[0], group.value(xi, z)[0])
    assert np.allclose(group.inertia(z), -0.4 * ARMATURE)


def test_impulses_agree_with_the_design() -> None:
    rng, group = np.random.default_rng(1), ArmatureFeatures(ARMATURE)
    q, v = rng.standard_normal((2, 3, 5, 2))
    a = (np.diff(v, axis=1) / 0.01).reshape(-1, 2)
    middle = Xi(np.zeros_like(a), np.zeros_like(a), a, np.zeros_like(a), np.zeros((2, *a.shape)))
    assert np.allclose(group.impulses(Series(q, v, 0.01, middle)), 0.01 * group.design(middle))


@pytest.mark.parametrize("error", [-1.0, 1.0, 3.0])
def test_another_armature_than_the_nominal_one_is_found(error: float) -> None:
    dynamics = ArmDynamics(ROBOT)
    group = SPEC.build(ROBOT, dynamics, None)
    tuning = filter_tuning(ROBOT, dynamics, AdapterTuning(8.0, model_error=0.002, forgetting_s=5000.0))
    adapter = MomentumFilter(dynamics, FeatureMap(dynamics, (group,)), Prior(np.zeros(1), np.ones((1, 1))), tuning)
    model = mujoco.MjModel.from_xml_path(str(ROBOT.model_path))
    model.dof_armature[:] *= 1.0 + error
    data, rng, dt = mujoco.MjData(model), np.random.default_rng(1), ROBOT.control_period_s
    omega, phase, before = 2.0 * np.pi * np.array([1.3, 1.9]), np.array([0.0, 1.0]), np.zeros(2)
    for k in range(800):
        at = k * dt
        q, v = ROBOT.home + 0.4 * np.sin(omega * at + phase), 0.4 * omega * np.cos(omega * at + phase)
        adapter.update(State(q + 2e-5 * rng.standard_normal(2), v + 0.003 * rng.standard_normal(2)), before, dt)
        middle = omega * (at + 0.5 * dt) + phase
        data.qpos[:], data.qvel[:] = ROBOT.home + 0.4 * np.sin(middle), 0.4 * omega * np.cos(middle)
        data.qacc[:] = -0.4 * omega**2 * np.sin(middle)
        mujoco.mj_inverse(model, data)
        before = data.qfrc_inverse.copy()
    most = group.limits[1]
    assert 1.0 < most < 3.0, "half of the smallest inertia of a joint over its armature"
    found = adapter.context
    assert found.mean[0] == pytest.approx(min(error, most), abs=0.25 if error < most else found.std[0])
    assert np.linalg.eigvalsh(adapter.belief.covariance).min() > -1e-12
