# SPDX-License-Identifier: Apache-2.0
"""One call for a control interval agrees with momentum, regressors and features at its ends."""

from __future__ import annotations

import casadi as ca
import numpy as np
import pytest
from numpy.typing import NDArray

from metarl_robot.adaptation.features import Interval
from metarl_robot.adaptation.network import Perceptron
from metarl_robot.core.robot import load_robot
from metarl_robot.dynamics.momentum_balance import Balanced, balance_function
from metarl_robot.robots.arm.dynamics import ArmDynamics
from metarl_robot.robots.quadrotor.description import Quadrotor
from metarl_robot.robots.quadrotor.dynamics import QuadrotorDynamics
from metarl_robot.robots.quadrotor.features.drag import DragFeatures
from metarl_robot.robots.quadrotor.features.learned import FlightNetworkFeatures
from metarl_robot.robots.quadrotor.features.push import PushFeatures
from metarl_robot.robots.quadrotor.features.rotor import RotorFeatures
from metarl_robot.robots.quadrotor.scale import FlightScale

Array = NDArray[np.float64]
Dynamics = ArmDynamics | QuadrotorDynamics

DT = 0.01
TOLERANCE = 1e-9


@pytest.fixture(scope="module", params=["panda", "x500"])
def dynamics(request: pytest.FixtureRequest) -> Dynamics:
    robot = load_robot(request.param)
    return QuadrotorDynamics(robot) if isinstance(robot, Quadrotor) else ArmDynamics(robot)


def _motion(dynamics: Dynamics) -> tuple[Array, Array, Array]:
    """Position and two velocities."""
    rng = np.random.default_rng(1)
    q = 0.5 * rng.standard_normal(7)
    if isinstance(dynamics, QuadrotorDynamics):
        q[3:] /= np.linalg.norm(q[3:])
    return q, rng.standard_normal(dynamics.dof), rng.standard_normal(dynamics.dof)


def test_balance_is_that_of_momentum_at_both_ends(dynamics: Dynamics) -> None:
    q, v_0, v_1 = _motion(dynamics)
    balance = dynamics.balance(q, v_0, v_1, DT, np.ones(10))
    there = dynamics.retract(q, 0.5 * DT * (v_0 + v_1))
    _, p_0, beta_0 = (x.copy() for x in dynamics.momentum(q, v_0))
    mass, p_1, beta_1 = (x.copy() for x in dynamics.momentum(there, v_1))
    assert np.allclose(balance.q, there, atol=TOLERANCE)
    assert np.allclose(balance.mass, mass, atol=TOLERANCE)
    assert np.allclose(balance.deficit, p_0 - p_1 + 0.5 * DT * (beta_0 + beta_1), atol=TOLERANCE)
    assert np.allclose(
        balance.input_map, dynamics.input_map(dynamics.retract(q, 0.25 * DT * (v_0 + v_1))), atol=TOLERANCE
    )


def test_payload_is_what_it_adds(dynamics: Dynamics) -> None:
    q, v_0, v_1 = _motion(dynamics)
    payload = np.random.default_rng(2).standard_normal(10)
    balance = dynamics.balance(q, v_0, v_1, DT, payload)
    there = balance.q.copy()
    p_0, beta_0 = (x.copy() for x in dynamics.attached_momentum_regressor(q, v_0))
    p_1, beta_1 = (x.copy() for x in dynamics.attached_momentum_regressor(there, v_1))
    assert np.allclose(balance.attached_impulse, p_0 - p_1 + 0.5 * DT * (beta_0 + beta_1), atol=TOLERANCE)
    loaded = dynamics.momentum(there, v_0, payload)[0].copy()
    assert np.allclose(balance.attached_inertia, loaded - dynamics.mass_matrix(there), atol=TOLERANCE)


def test_impulses_of_flight_are_their_features_half_way() -> None:
    robot = load_robot("x500")
    assert isinstance(robot, Quadrotor)
    dynamics, rng = QuadrotorDynamics(robot), np.random.default_rng(3)
    network = Perceptron([rng.standard_normal((5, 9)), rng.standard_normal((12, 5))], [np.ones(5), np.ones(12)])
    q, v_0, v_1 = _motion(dynamics)
    balance = dynamics.balance(q, v_0, v_1, DT, np.zeros(10))
    interval = Interval(q, v_0, v_1, np.ones(4), np.ones((2, 4)), DT, balance)
    for group in (
        DragFeatures(dynamics),
        PushFeatures(dynamics),
        RotorFeatures(dynamics),
        FlightNetworkFeatures(network, robot),
    ):
        # The rotors' attitude half-way is the geodesic's, the middle's the mean quaternion: they differ in third order
        # of the turn.
        assert np.allclose(group.impulse(interval), DT * group.design(interval.middle)[0], atol=1e-4 * DT)
    scale = FlightScale(robot)
    assert np.allclose(scale.encode_one(q, v_0), scale.encode(q[None], v_0[None])[0], rtol=1e-14)


def test_a_robot_without_an_attached_body_needs_no_parameters() -> None:
    q, v, attached = ca.SX.sym("q", 2), ca.SX.sym("v", 2), ca.SX.sym("attached", 0)
    momentum = ca.Function("momentum", [q, v, attached], [2.0 * ca.SX.eye(2), 2.0 * v, -v])
    function = balance_function(momentum, lambda q, change: q + change, lambda q: ca.SX.eye(2))
    dynamics = Balanced()
    dynamics._take_balance(function)
    balance = dynamics.balance(np.zeros(2), np.ones(2), np.full(2, 3.0), DT, np.zeros(0))
    assert dynamics.attached == 0 and balance.attached_impulse.shape == (2, 0)
    assert np.array_equal(balance.attached_inertia, np.zeros((2, 2)))
    assert np.allclose(balance.deficit, -4.0 - 2.0 * DT)
