# SPDX-License-Identifier: Apache-2.0
"""The CasADi dynamics against MuJoCo's, and against physics."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest

from metarl_robot.compile import code_cache, compiler
from metarl_robot.core.robot import Robot, load_robot
from metarl_robot.robots.arm.dynamics import ArmDynamics
from metarl_robot.robots.payload import payload_site

TOLERANCE = 1e-8  # asked of the model; rounding leaves about 1e-13
ROBOTS = ("panda", "planar2")


@pytest.fixture(scope="module", params=ROBOTS)
def arm(request: pytest.FixtureRequest) -> tuple[Robot, ArmDynamics]:
    robot = load_robot(request.param)
    return robot, ArmDynamics(robot, knots=5)


def _states(robot: Robot, count: int = 50) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(0)
    draw = lambda: rng.uniform(robot.position_lower, robot.position_upper)  # noqa: E731
    return [(draw(), 2.0 * rng.normal(size=robot.dof), 5.0 * rng.normal(size=robot.dof)) for _ in range(count)]


def test_inverse_dynamics_bias_and_mass_matrix_are_mujocos(arm: tuple[Robot, ArmDynamics]) -> None:
    robot, dynamics = arm
    model = robot.mj_model
    data = mujoco.MjData(model)
    for q, v, a in _states(robot):
        data.qpos[:], data.qvel[:], data.qacc[:] = q, v, a
        mujoco.mj_inverse(model, data)
        effort = data.qfrc_inverse + data.qfrc_constraint
        assert np.allclose(dynamics.inverse_dynamics(q, v, a), effort, rtol=0, atol=TOLERANCE)
        assert np.allclose(dynamics.bias(q, v), data.qfrc_bias - data.qfrc_passive, rtol=0, atol=TOLERANCE)
        assert np.allclose(dynamics.mass_matrix(q) @ a + dynamics.bias(q, v), effort, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("count", [1, 100])
def test_accelerations_are_those_that_need_the_force(arm: tuple[Robot, ArmDynamics], count: int) -> None:
    robot, dynamics = arm
    q, v, a = (np.array(each) for each in zip(*_states(robot, count), strict=True))
    np.testing.assert_allclose(dynamics.accelerations(q, v, dynamics.inverse_dynamics(q, v, a)), a, atol=TOLERANCE)


def test_kinematics_are_mujocos(arm: tuple[Robot, ArmDynamics]) -> None:
    robot, dynamics = arm
    model = robot.mj_model
    data, site = mujoco.MjData(model), model.site(payload_site(robot)).id
    linear, angular = np.zeros((3, robot.dof)), np.zeros((3, robot.dof))
    for q, _, _ in _states(robot):
        data.qpos[:] = q
        mujoco.mj_forward(model, data)
        mujoco.mj_jacSite(model, data, linear, angular, site)
        position, rotation = dynamics.forward_kinematics(q)
        assert np.allclose(position, data.site_xpos[site], rtol=0, atol=TOLERANCE)
        assert np.allclose(rotation, data.site_xmat[site].reshape(3, 3), rtol=0, atol=TOLERANCE)
        assert np.allclose(dynamics.site_jacobian(q), np.vstack([linear, angular]), rtol=0, atol=TOLERANCE)


def test_payload_enters_linearly_and_equals_mujocos(arm: tuple[Robot, ArmDynamics]) -> None:
    robot, dynamics = arm
    mass, com, inertia = 1.7, np.array([0.03, -0.02, 0.05]), np.array([0.004, 0.005, 0.006])
    spec = robot.mj_spec()
    body = spec.site(payload_site(robot)).parent.add_body(
        pos=spec.site(payload_site(robot)).pos, quat=spec.site(payload_site(robot)).quat
    )
    body.explicitinertial, body.mass, body.ipos, body.inertia = True, mass, com, inertia
    model = spec.compile()
    data = mujoco.MjData(model)
    about_site = np.diag(inertia) + mass * (com @ com * np.eye(3) - np.outer(com, com))
    xx, yy, zz, xy, xz, yz = (about_site[i, j] for i, j in ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)))
    payload = np.array([mass, *(mass * com), xx, yy, zz, xy, xz, yz])
    for q, v, a in _states(robot, 20):
        data.qpos[:], data.qvel[:], data.qacc[:] = q, v, a
        mujoco.mj_inverse(model, data)
        effort = data.qfrc_inverse + data.qfrc_constraint
        assert np.allclose(dynamics.inverse_dynamics(q, v, a, payload), effort, rtol=0, atol=TOLERANCE)


def test_momentum_form_is_the_equation_of_motion(arm: tuple[Robot, ArmDynamics]) -> None:
    """ṗ = τ + β along a trajectory: central differences of p = M v; their error falls with the square of the step."""
    robot, dynamics = arm
    for q, v, a in _states(robot, 10):
        errors = []
        for h in (1e-3, 5e-4):
            ahead = dynamics.momentum(q + h * v + 0.5 * h**2 * a, v + h * a)[1].copy()
            behind = dynamics.momentum(q - h * v + 0.5 * h**2 * a, v - h * a)[1].copy()
            beta = dynamics.momentum(q, v)[2]
            errors.append(np.abs((ahead - behind) / (2 * h) - dynamics.inverse_dynamics(q, v, a) - beta).max())
        assert errors[1] < max(0.3 * errors[0], 1e-8)


def test_attached_regressors_reproduce_the_payload(arm: tuple[Robot, ArmDynamics]) -> None:
    robot, dynamics = arm
    payload = np.random.default_rng(1).normal(size=10)
    for q, v, a in _states(robot, 10):
        share = dynamics.inverse_dynamics(q, v, a, payload) - dynamics.inverse_dynamics(q, v, a)
        assert np.allclose(dynamics.attached_regressor(q, v, a) @ payload, share, rtol=0, atol=1e-9)
        loaded = [x.copy() for x in dynamics.momentum(q, v, payload)]
        bare = [x.copy() for x in dynamics.momentum(q, v)]
        by_momentum, by_beta = dynamics.attached_momentum_regressor(q, v)
        assert np.allclose(by_momentum @ payload, loaded[1] - bare[1], rtol=0, atol=1e-9)
        assert np.allclose(by_beta @ payload, loaded[2] - bare[2], rtol=0, atol=1e-9)


def test_knots_and_jacobians_agree_with_single_states_and_finite_differences(arm: tuple[Robot, ArmDynamics]) -> None:
    robot, dynamics = arm
    q, v, a = (np.stack(x) for x in zip(*_states(robot, 5), strict=True))
    efforts = dynamics.efforts(q, v, a).copy()
    assert np.allclose(efforts, dynamics.inverse_dynamics(q, v, a), rtol=0, atol=1e-10)
    jacobian, n, h = dynamics.efforts_jacobian(q, v, a).copy(), robot.dof, 1e-5
    for j in range(3 * n):
        step = np.zeros((3, 5, n))
        step[j // n, :, j % n] = h
        ahead = dynamics.efforts(q + step[0], v + step[1], a + step[2]).copy()
        behind = dynamics.efforts(q - step[0], v - step[1], a - step[2]).copy()
        # central differences: error h², lifted by rounding of efforts up to 1e2 over 2 h: 1e-8
        assert np.allclose(jacobian[:, :, j], (ahead - behind) / (2 * h), rtol=1e-6, atol=1e-6)


def test_without_a_compiler_the_results_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    robot = load_robot("planar2")
    expected = ArmDynamics(robot, 5).inverse_dynamics(robot.home, np.ones(2), np.ones(2))
    monkeypatch.setattr(compiler.shutil, "which", lambda name: None)
    monkeypatch.setattr(code_cache, "_said", set())
    with pytest.warns(RuntimeWarning, match="no C compiler"):
        slow = ArmDynamics(robot, 5)
    assert np.allclose(slow.inverse_dynamics(robot.home, np.ones(2), np.ones(2)), expected, rtol=0, atol=1e-12)
