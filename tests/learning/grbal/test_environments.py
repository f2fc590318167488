# SPDX-License-Identifier: Apache-2.0
"""Environments of the GrBAL suite: the physics that a task changes, held-out tasks, changes within an episode."""

from __future__ import annotations

from copy import copy
from typing import Any

import gymnasium
import mujoco
import numpy as np
import pytest

from metarl_robot.core.robot import load_robot
from metarl_robot.learning.grbal.environment import ENVIRONMENTS, AdaptationFamily, load_environment
from metarl_robot.learning.policies.family import sizes_of
from metarl_robot.robots.payload import payload_site


@pytest.fixture(params=ENVIRONMENTS)
def family(request: pytest.FixtureRequest) -> AdaptationFamily:
    return load_environment(request.param)


def test_held_out_tasks_are_never_trained_on(family: AdaptationFamily) -> None:
    rng = np.random.default_rng(1000)
    trained, held_out = ([draw(rng) for _ in range(60)] for draw in (family.training_task, family.held_out_task))
    assert not {str(task) for task in trained} & {str(task) for task in held_out}
    if not family.name.endswith("cripple"):
        sizes = [np.linalg.norm(np.atleast_2d(np.array(tasks).T).T, axis=1) for tasks in (trained, held_out)]
        assert sizes[0].max() < sizes[1].min()


def test_a_planners_rewards_are_the_environments(family: AdaptationFamily) -> None:
    """Exactly on arms; elsewhere to the difference of the mean speed of a step and the mean of its ends."""
    rng = np.random.default_rng(1001)
    env = family.vector_env([family.training_task(rng) for _ in range(3)])
    seen, _ = env.reset(seed=0)
    planned, rewards, motors = [], [], sizes_of(family).actions
    for _ in range(40):
        actions = rng.uniform(-1.0, 1.0, (3, motors))
        following, reward, *_ = env.step(actions)
        planned.append(family.planned_rewards(seen, actions, following))
        rewards.append(reward)
        seen = following
    if family.name.startswith("arm"):
        np.testing.assert_allclose(planned, rewards, rtol=1e-12)
    else:
        assert np.corrcoef(np.ravel(planned), np.ravel(rewards))[0, 1] > 0.95


def test_a_switch_acts_from_then_on(family: AdaptationFamily) -> None:
    rng = np.random.default_rng(1002)
    task, other = family.training_task(rng), family.held_out_task(rng)
    motors, envs = sizes_of(family).actions, [family.vector_env([task, task]) for _ in range(2)]
    seen = [env.reset(seed=4)[0] for env in envs]
    np.testing.assert_array_equal(*seen)
    for step in range(12):
        if step == 6:
            envs[1].switch(np.array([task, other]))
        actions = rng.uniform(-1.0, 1.0, (2, motors))
        seen = [env.step(actions)[0] for env in envs]
        np.testing.assert_array_equal(seen[0][0], seen[1][0])
        assert np.array_equal(seen[0][1], seen[1][1]) == (step < 6)


def test_ants_move_like_gymnasiums_with_dead_motors() -> None:
    family, rng = load_environment("ant-cripple"), np.random.default_rng(1003)
    many: Any = family.vector_env([3.0, 1.0])
    many.reset(seed=0)
    dead = ([0, 1], [4, 5])
    singles: list[Any] = [
        gymnasium.make("Ant-v5", include_cfrc_ext_in_observation=False, terminate_when_unhealthy=False) for _ in dead
    ]
    for i, env in enumerate(singles):
        env.reset(seed=0)
        env.unwrapped.set_state(many._q[i].copy(), many._v[i].copy())
    for _ in range(30):
        actions = rng.uniform(-1.0, 1.0, (2, 8))
        seen, rewards, *_ = many.step(actions)
        for i, env in enumerate(singles):
            acting = actions[i].copy()
            acting[dead[i]] = 0.0
            expected, _, _, _, info = env.step(acting)
            np.testing.assert_allclose(seen[i], expected, rtol=1e-9, atol=1e-9)
            # Gymnasium takes positions that MuJoCo computed one substep before the end
            assert rewards[i] == pytest.approx(info["x_velocity"], abs=0.05)


def test_a_slope_is_level_ground_under_tilted_gravity() -> None:
    """In free flight the acceleration along the ground is -g sin φ."""
    many: Any = load_environment("half-cheetah-slope").vector_env([0.2, -0.2, 0.0])
    many.reset(seed=0)
    many._q[:, 1], many._v[:] = 5.0, 0.0
    for _ in range(4):
        many.step(np.zeros((3, 6)))
    along, up = many._v[:, 0] / 0.2, many._v[:, 1] / 0.2
    momenta = [-9.81 * np.sin([0.2, -0.2, 0.0]), -9.81 * np.cos([0.2, -0.2, 0.0])]
    np.testing.assert_allclose(along - along[2], momenta[0], atol=0.35)  # joints' springs move the root, too
    np.testing.assert_allclose(up - up[2], momenta[1] - momenta[1][2], atol=0.35)


def test_an_arm_without_load_and_action_stays_and_a_load_accelerates_it_by_its_force() -> None:
    """M v̇ = Jᵀ f of the force, or of the payload's weight."""
    robot, family = load_robot("panda"), load_environment("arm-force")
    push = np.array([3.0, -5.0, 8.0])
    many: Any = family.vector_env([np.zeros(4), np.array([0.0, *push]), np.array([0.5, 0.0, 0.0, 0.0])])
    many.reset(seed=1)
    many._q[:], many._v[:] = robot.home, 0.0
    model = copy(many._batch.model)
    data = mujoco.MjData(model)
    model.body_mass[many._body], model.body_inertia[many._body] = 0.0, 0.0
    data.qpos[:] = robot.home
    mujoco.mj_forward(model, data)
    jacobian, inertia = np.zeros((3, model.nv)), np.zeros((model.nv, model.nv))
    mujoco.mj_jacSite(model, data, jacobian, None, model.site(payload_site(robot)).id)
    mujoco.mj_fullM(model, data, inertia)
    damped = inertia + 0.005 * np.diag(model.dof_damping)  # implicit in the velocity
    many._batch.step(nstep=1)
    velocities = many._v / 0.005
    np.testing.assert_allclose(velocities[0], 0.0, atol=1e-9)
    np.testing.assert_allclose(damped @ velocities[1], jacobian.T @ push, atol=1e-6)
    added = damped + 0.5 * jacobian.T @ jacobian
    np.testing.assert_allclose(added @ velocities[2], jacobian.T @ [0.0, 0.0, -0.5 * 9.81], atol=0.02)
    for _ in range(20):
        many.step(np.zeros((3, 7)))
    np.testing.assert_allclose(many._q[0], robot.home, atol=1e-6)
