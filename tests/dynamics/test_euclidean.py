# SPDX-License-Identifier: Apache-2.0
"""Dynamics from M(q), f(q, v) and B(q): those of an arm with the same equations, written out in two ways."""

from __future__ import annotations

import casadi as ca
import numpy as np
import pytest

from metarl_robot.core.robot import load_robot
from metarl_robot.dynamics.euclidean import Equations, EuclideanDynamics
from metarl_robot.dynamics.rigid_body import N_INERTIAL, RigidBodyTree
from metarl_robot.robots.arm.dynamics import ArmDynamics
from metarl_robot.robots.payload import payload_site

ROBOT = load_robot("planar2")


@pytest.fixture(scope="module")
def both() -> tuple[EuclideanDynamics, ArmDynamics]:
    tree, nothing, still = RigidBodyTree(ROBOT.mj_model, payload_site(ROBOT)), ca.SX.zeros(N_INERTIAL), ca.SX.zeros(2)

    def force(q: ca.SX, v: ca.SX) -> ca.SX:
        return -tree.inverse_dynamics(q, still, still, nothing) - ca.DM(tree.damping) * v

    equations = Equations(lambda q: tree.momentum(q, ca.SX.sym("v", 2), nothing)[0], force, lambda q: ca.SX.eye(2))
    return EuclideanDynamics(2, 2, equations), ArmDynamics(ROBOT)


def test_they_are_those_of_an_arm_with_the_same_equations(both) -> None:
    made, arm = both
    rng = np.random.default_rng(0)
    for q, v, a in rng.normal(size=(5, 3, 2)):
        for ours, theirs in zip(made.momentum(q, v), arm.momentum(q, v), strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-10)
        np.testing.assert_allclose(made.bias(q, v), arm.bias(q, v), atol=1e-10)
        needed = made.required_force(q[None], v[None], a[None])[0]
        np.testing.assert_allclose(needed, arm.inverse_dynamics(q, v, a), atol=1e-10)
        ours, theirs = (dynamics.balance(q, v, v + a, 0.01, np.zeros(dynamics.attached)) for dynamics in both)
        for name in ("q", "mass", "deficit", "input_map", "q_mean", "v_mean"):
            np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), atol=1e-10)


def test_many_states_at_once_are_each_alone(both) -> None:
    made, _ = both
    q, v, u = np.random.default_rng(1).normal(size=(3, 70, 2))
    for many, one in zip(made.momenta(q, v), made.momentum(q[69], v[69]), strict=True):
        np.testing.assert_allclose(many[69], one, atol=1e-12)
    np.testing.assert_array_equal(made.input_forces(q, u), u)


def test_they_have_no_attached_body(both) -> None:
    balance = both[0].balance(np.zeros(2), np.ones(2), np.ones(2), 0.01, np.zeros(0))
    assert both[0].attached == 0 and balance.attached_impulse.shape == (2, 0)
    assert not balance.attached_inertia.any()
