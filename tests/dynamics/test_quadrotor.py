# SPDX-License-Identifier: Apache-2.0
"""A quadrotor's dynamics against MuJoCo's, and against physics; its linearised plans against finite differences."""

from __future__ import annotations

import casadi as ca
import mujoco
import numpy as np
import pytest

from metarl_robot.core import rotation
from metarl_robot.core.robot import load_robot
from metarl_robot.robots.quadrotor.description import Quadrotor
from metarl_robot.robots.quadrotor.dynamics import GRAVITY, QuadrotorDynamics
from metarl_robot.robots.quadrotor.plan import QuadrotorPlan

QUADROTORS = ("x500", "hummingbird", "crazyflie")
NOTHING = np.zeros(10)


@pytest.fixture(scope="module", params=QUADROTORS)
def quad(request: pytest.FixtureRequest) -> tuple[Quadrotor, QuadrotorDynamics]:
    robot = load_robot(request.param)
    assert isinstance(robot, Quadrotor)
    return robot, QuadrotorDynamics(robot)


@pytest.fixture(scope="module")
def plan() -> tuple[Quadrotor, QuadrotorDynamics, QuadrotorPlan]:
    robot = load_robot("x500")
    assert isinstance(robot, Quadrotor)
    return robot, QuadrotorDynamics(robot), QuadrotorPlan(robot, 5, 0.05)


def _state(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    attitude = rotation.normalise(rng.normal(size=4))
    return np.concatenate([rng.normal(size=3), attitude]), rng.normal(size=6)


def _payload(robot: Quadrotor) -> tuple[np.ndarray, float, np.ndarray, np.ndarray]:
    """(inertial parameters about the payload site, mass, centre, principal moments) of a box-like body."""
    mass, c = 0.3 * robot.mass_kg, 0.1 * robot.payload_position[2] * np.array([1.0, -2.0, 1.5])
    moments = 0.1 * np.trace(robot.inertia) * np.array([1.0, 1.2, 1.3])
    about = np.diag(moments) + mass * (c @ c * np.eye(3) - np.outer(c, c))
    entries = [about[0, 0], about[1, 1], about[2, 2], about[0, 1], about[0, 2], about[1, 2]]
    return np.concatenate([[mass], mass * c, entries]), mass, c, moments


def test_momentum_with_payload_gives_mujocos_acceleration(quad: tuple[Quadrotor, QuadrotorDynamics]) -> None:
    robot, dynamics = quad
    pi, mass, c, moments = _payload(robot)
    spec = robot.mj_spec()
    body = spec.body(robot.base_frame).add_body(name="payload", pos=robot.payload_position)
    body.mass, body.ipos, body.iquat, body.inertia, body.explicitinertial = mass, c, [1, 0, 0, 0], moments, True
    model = spec.compile()
    data, rng = mujoco.MjData(model), np.random.default_rng(0)
    for _ in range(10):
        q, v = _state(rng)
        q[2] += 5.0
        thrust = robot.hover_thrust * rng.uniform(0.5, 1.5, 4)
        data.qpos[:], data.qvel[:], data.qfrc_applied[:] = q, v, dynamics.input_map(q) @ thrust
        mujoco.mj_forward(model, data)
        step = 1e-6
        before, after = (dynamics.momentum(dynamics.retract(q, s * v), v, pi)[0].copy() for s in (-step, step))
        inertia, _, beta = (x.copy() for x in dynamics.momentum(q, v, pi))
        force = data.qfrc_applied + beta - (after - before) / (2 * step) @ v
        acceleration = np.linalg.solve(inertia, force)
        assert np.allclose(acceleration, data.qacc, rtol=1e-6, atol=1e-6)
        share = dynamics.attached_regressors(q[None], v[None], acceleration[None])[0] @ pi
        bare = [dynamics.momentum(dynamics.retract(q, s * v), v)[0].copy() for s in (-step, step)]
        own, _, own_beta = (x.copy() for x in dynamics.momentum(q, v))
        without = own @ acceleration + (bare[1] - bare[0]) / (2 * step) @ v - own_beta
        assert np.allclose(without + share, data.qfrc_applied, rtol=1e-5, atol=1e-5 * np.abs(data.qfrc_applied).max())


def test_one_step_is_mujocos_to_a_millionth(quad: tuple[Quadrotor, QuadrotorDynamics]) -> None:
    robot, _ = quad
    functions = QuadrotorPlan(robot, 2, 0.05)
    model, rng = robot.mj_model, np.random.default_rng(1)
    model.opt.integrator, model.opt.timestep = mujoco.mjtIntegrator.mjINT_RK4, 0.001
    data, nominal = mujoco.MjData(model), functions.model(NOTHING, np.ones(4))
    dynamics = QuadrotorDynamics(robot)
    for _ in range(5):
        q, v = _state(rng)
        q[2] += 5.0
        mujoco.mj_resetData(model, data)
        thrust = robot.hover_thrust * rng.uniform(0.8, 1.2, 4)
        data.qpos[:], data.qvel[:] = q, v
        x = np.concatenate([q, v, thrust])
        for _ in range(20):
            data.qfrc_applied[:] = dynamics.input_map(data.qpos.copy()) @ thrust
            # the force turns with the body between the stages of MuJoCo's step, hence the tolerance
            mujoco.mj_step(model, data)
            x = functions.advance(x, thrust, np.zeros(6), nominal, 0.001)
        assert np.abs(dynamics.difference(data.qpos.copy(), x[:7])).max() < 20e-6
        assert np.abs(data.qvel - x[7:13]).max() < 20e-6 * max(1.0, np.abs(data.qvel).max()) * 10


def test_free_rotation_keeps_angular_momentum_and_energy(
    plan: tuple[Quadrotor, QuadrotorDynamics, QuadrotorPlan],
) -> None:
    robot, _, functions = plan
    x = np.concatenate([robot.home, [0, 0, 0], [2.0, 1.0, -3.0], np.zeros(4)])
    nominal = functions.model(NOTHING, np.ones(4))

    def spin(x: np.ndarray) -> tuple[np.ndarray, float]:
        momentum = robot.inertia @ x[10:13]
        return rotation.rotate(x[3:7], momentum), float(0.5 * x[10:13] @ momentum)

    momentum, energy = spin(x)
    for _ in range(100):
        x = functions.advance(x, np.zeros(4), np.zeros(6), nominal, 0.01)
    assert np.allclose(spin(x)[0], momentum, atol=1e-8) and spin(x)[1] == pytest.approx(energy, rel=1e-8)
    assert np.linalg.norm(x[3:7]) == pytest.approx(1.0, abs=1e-12)
    assert x[9] == pytest.approx(-9.81, rel=1e-9)


def test_integrator_is_of_fourth_order(plan: tuple[Quadrotor, QuadrotorDynamics, QuadrotorPlan]) -> None:
    robot, dynamics, functions = plan
    nominal = functions.model(NOTHING, np.ones(4))
    x0 = np.concatenate([robot.home, [1, 0, 0], [3.0, -2.0, 1.0], 0.5 * robot.hover_thrust])
    thrust = robot.hover_thrust * np.array([1.1, 0.9, 1.05, 0.95])

    def reached(steps: int) -> np.ndarray:
        x = x0
        for _ in range(steps):
            x = functions.advance(x, thrust, np.full(6, 0.01), nominal, 0.08 / steps)
        return x

    exact = reached(64)
    errors = [np.abs(dynamics.difference(reached(n)[:7], exact[:7])).max() for n in (1, 2, 4)]
    orders = np.log2(np.array(errors[:-1]) / np.array(errors[1:]))
    assert np.all(orders > 3.5)


def test_linearisation_equals_finite_differences(plan: tuple[Quadrotor, QuadrotorDynamics, QuadrotorPlan]) -> None:
    robot, dynamics, functions = plan
    rng = np.random.default_rng(2)
    states = np.stack([np.concatenate([*_state(rng), robot.hover_thrust * rng.uniform(0.5, 1.5, 4)]) for _ in range(6)])
    inputs, residuals = robot.hover_thrust * rng.uniform(0.5, 1.5, (5, 4)), 0.3 * rng.normal(size=(5, 6))
    model = functions.model(_payload(robot)[0], np.array([0.9, 1.0, 1.1, 0.8]))
    linear = functions.linearise(states, inputs, residuals, model, states)

    def away(x: np.ndarray, base: np.ndarray) -> np.ndarray:
        return np.concatenate([dynamics.difference(x[:7], base[:7]), x[7:] - base[7:]])

    def moved(x: np.ndarray, change: np.ndarray) -> np.ndarray:
        return np.concatenate([dynamics.retract(x[:7], change[:6]), x[7:] + change[6:]])

    step = 1e-6
    for k in (0, 4):
        x, u = states[k], inputs[k]
        reached = functions.advance(x, u, residuals[k], model, 0.05)
        a, b = functions.dense(linear, k)
        by_x = [
            away(functions.advance(moved(x, step * e), u, residuals[k], model, 0.05), reached) / step
            for e in np.eye(16)
        ]
        by_u = [away(functions.advance(x, u + step * e, residuals[k], model, 0.05), reached) / step for e in np.eye(4)]
        assert np.allclose(a, np.array(by_x).T, atol=1e-4) and np.allclose(b, np.array(by_u).T, atol=1e-4)
        assert np.allclose(linear.defects[k], away(reached, states[k + 1]), atol=1e-9)
    assert np.abs(linear.errors).max() < 1e-9


def test_target_is_an_equilibrium_of_the_loaded_disturbed_quadrotor(
    plan: tuple[Quadrotor, QuadrotorDynamics, QuadrotorPlan],
) -> None:
    robot, _, functions = plan
    count, residual = 6, np.array([2.0, -1.0, 0.5, 0.02, -0.03, 0.01])
    model = functions.model(_payload(robot)[0], np.array([0.8, 1.0, 0.9, 1.0]))
    q, zero = np.tile(robot.home, (count, 1)), np.zeros((count, 6))
    states, inputs = functions.target(q, zero, zero, np.tile(residual, (count, 1)), model)
    after = functions.advance(states[0].copy(), inputs[0].copy(), residual, model, 0.02)
    assert np.allclose(after, states[0], atol=1e-9)


def test_retract_and_difference_are_inverse_and_take_the_short_way(quad: tuple[Quadrotor, QuadrotorDynamics]) -> None:
    _, dynamics = quad
    rng = np.random.default_rng(3)
    for _ in range(20):
        q, change = _state(rng)[0], rng.normal(size=6)
        reached = dynamics.retract(q, change)
        assert np.allclose(dynamics.difference(reached, q), change, atol=1e-12)
        reached[3:] *= -1.0
        assert np.allclose(dynamics.difference(reached, q), change, atol=1e-12)


def test_what_sensors_should_show_is_that_of_its_parts(quad: tuple[Quadrotor, QuadrotorDynamics]) -> None:
    _, dynamics = quad
    rng = np.random.default_rng(6)
    q, change = _state(rng)
    measured, acceleration = dynamics.retract(q, 0.1 * rng.standard_normal(6)), rng.standard_normal(6)
    there, off, felt = dynamics.expected(q, change, measured)
    assert felt is not None
    assert np.allclose(there, dynamics.retract(q, change), atol=1e-12)
    assert np.allclose(off, dynamics.difference(measured, there), atol=1e-12)
    seen = rotation.rotate_back(there[3:], acceleration[:3] - GRAVITY)
    assert np.allclose(felt[0] @ acceleration + felt[1], seen, atol=1e-12)


def test_sparsity_is_that_of_the_equations(plan: tuple[Quadrotor, QuadrotorDynamics, QuadrotorPlan]) -> None:
    functions = plan[2]
    assert functions.by_state.nnz() < 16 * 16 and functions.by_input.shape == (16, 4)
    assert np.array(ca.DM(functions.by_state, 1.0))[13:, :13].sum() == 0.0  # thrust does not depend on motion
