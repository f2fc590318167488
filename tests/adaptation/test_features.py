# SPDX-License-Identifier: Apache-2.0
"""Features: the value is Φ z, Jacobians are finite differences', impulses are integrals."""

from __future__ import annotations

import numpy as np
import pytest

from metarl_robot.adaptation.features import FeatureMap, Interval, Xi
from metarl_robot.adaptation.learned_features import NetworkFeatures
from metarl_robot.adaptation.network import Perceptron
from metarl_robot.core.robot import load_robot
from metarl_robot.robots.arm.dynamics import ArmDynamics
from metarl_robot.robots.arm.features.friction import FrictionFeatures
from metarl_robot.robots.arm.features.motor import MotorFeatures
from metarl_robot.robots.arm.features.payload import PayloadFeatures

KNOTS = 4


@pytest.fixture(scope="module")
def dynamics() -> ArmDynamics:
    return ArmDynamics(load_robot("planar2"), KNOTS)


@pytest.fixture(scope="module")
def features(dynamics: ArmDynamics) -> FeatureMap:
    robot = load_robot("planar2")
    rng = np.random.default_rng(0)
    sizes = (3 * robot.dof, 8, robot.dof * 3)
    weights = [rng.normal(size=(o, i)) for i, o in zip(sizes[:-1], sizes[1:], strict=True)]
    network = Perceptron(weights, [rng.normal(size=o) for o in sizes[1:]])
    groups = (
        PayloadFeatures(dynamics),
        FrictionFeatures(robot.dof),
        MotorFeatures(robot.dof),
        NetworkFeatures(network, robot.velocity_limit),
    )
    return FeatureMap(dynamics, groups)


def _xi(seed: int = 0) -> Xi:
    rng = np.random.default_rng(seed)
    q, v, a, effort = (0.5 * rng.normal(size=(KNOTS, 2)) for _ in range(4))
    return Xi(q, v, a, effort, np.stack([effort, effort]))


def test_value_is_design_times_context(features: FeatureMap) -> None:
    xi, z = _xi(), np.random.default_rng(1).normal(size=features.size)
    assert features.design(xi).shape == (KNOTS, 2, features.size)
    assert np.allclose(features.value(xi, z), features.design(xi) @ z, atol=1e-10)


def test_jacobian_and_effort_gain_are_finite_differences(features: FeatureMap) -> None:
    xi, z, h = _xi(), np.random.default_rng(1).normal(size=features.size), 1e-6
    parts = [xi.q, xi.v, xi.a, xi.effort]
    for j in range(8):
        step = np.zeros((KNOTS, 2))
        step[:, j % 2] = h
        moved = [[p + sign * step if i == j // 2 else p for i, p in enumerate(parts)] for sign in (1, -1)]
        ahead, behind = (features.value(Xi(*m, xi.past_effort), z).copy() for m in moved)
        slope = (ahead - behind) / (2 * h)
        expected = features.jacobian(xi, z)[:, :, j] if j < 6 else np.eye(2)[j % 2] * features.effort_gain(z)
        assert np.allclose(slope, expected, atol=1e-5)


def test_impulse_is_the_integral_of_the_features(dynamics: ArmDynamics, features: FeatureMap) -> None:
    """Over ever shorter intervals of a smooth motion, ∫Φ dt / dt tends to Φ half-way."""
    z = np.random.default_rng(1).normal(size=features.size)
    q, v, a, effort = (x[0] for x in (_xi().q, _xi().v, _xi().a, _xi().effort))
    errors = []
    for dt in (1e-2, 1e-3):
        balance = dynamics.balance(q, v, v + dt * a, dt, np.zeros(10))
        interval = Interval(q, v, v + dt * a, effort, np.stack([effort, effort]), dt, balance)
        middle = interval.middle
        still = Xi(
            *(np.repeat(x, KNOTS, axis=0) for x in (middle.q, middle.v, middle.a, middle.effort)), _xi().past_effort
        )
        errors.append(np.abs(features.impulse(interval) @ z / dt - features.value(still, z)[0]).max())
    assert errors[1] < 0.05 * errors[0] + 1e-9


def test_inertia_is_the_acceleration_part_of_the_payload(dynamics: ArmDynamics, features: FeatureMap) -> None:
    z, xi = np.random.default_rng(1).normal(size=features.size), _xi()
    z[10:] = 0.0
    by_a, still = features.jacobian(xi, z)[:, :, 4:], np.zeros(2)
    inertia = dynamics.balance(xi.q[0], still, still, 0.01, features.attached(z)).attached_inertia
    assert np.allclose(inertia, -by_a[0], atol=1e-10)
