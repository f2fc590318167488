# SPDX-License-Identifier: Apache-2.0
"""Family `<robot>-reach`: Gymnasium's contract, many arms like single ones, and the law that the robot runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from metarl_robot.control.factory import make_controller
from metarl_robot.core.errors import UnknownNameError
from metarl_robot.core.robot import MODELS_DIR
from metarl_robot.core.signals import Setpoints
from metarl_robot.learning.policies.family import family_names, load_family, sizes_of
from metarl_robot.sim.arm.plant import ArmPlant

FAMILY: Any = load_family("planar2-reach")


class Sampled:
    """The motion of an environment's first arm, as a reference."""

    def __init__(self, targets: Setpoints, period_s: float) -> None:
        self._targets, self._period_s = targets, period_s

    def sample(self, times: np.ndarray) -> Setpoints:
        k = np.round(times / self._period_s).astype(int)
        return Setpoints(*(getattr(self._targets, name)[k, 0] for name in ("q", "v", "a")))


def test_names_are_those_of_arms_by_name_or_folder() -> None:
    assert {"panda-reach", "planar2-reach", "point-navigation"} <= set(family_names())
    assert not any(name.startswith("x500") for name in family_names())
    own = load_family(f"{Path(MODELS_DIR / 'planar2')}-reach")
    assert own.name == "planar2-reach" and sizes_of(own) == (12, 2) and sizes_of(load_family("panda-reach")) == (42, 7)
    for name in ("x500-reach", "panda-run", "nobody-reach"):
        with pytest.raises(UnknownNameError, match=f"'{name}'.*panda-reach"):
            load_family(name)


def test_an_arm_keeps_gymnasiums_contract() -> None:
    check_env(FAMILY.env(FAMILY.sample_task(np.random.default_rng(1000))), skip_render_check=True)


def test_many_arms_move_like_single_ones() -> None:
    """Bit for bit; after the last step the next one resets."""
    rng = np.random.default_rng(1001)
    tasks = [FAMILY.sample_task(rng) for _ in range(3)]
    many = FAMILY.vector_env(tasks)
    many.reset(seed=5)
    singles = [FAMILY.vector_env([task]) for task in tasks]
    for i, env in enumerate(singles):
        env.reset(seed=5)
        env._targets = Setpoints(*(getattr(many._targets, name)[:, i : i + 1] for name in ("q", "v", "a")))
        env._plant = type(env._plant)(env._robot, [tasks[i]], many._plant._seeds[i : i + 1])
        env._measured = env._plant.reset(env._target(0).q, env._target(0).v)
    for _ in range(100):
        actions = rng.uniform(-1.5, 1.5, (3, 2))
        seen, rewards, ended, late, _ = many.step(actions)
        for i, env in enumerate(singles):
            one = env.step(actions[i : i + 1])
            np.testing.assert_array_equal(seen[i], one[0][0])
            assert rewards[i] == one[1][0]
    assert late.all() and not ended.any()
    assert many.step(np.zeros((3, 2)))[1].tolist() == [0.0, 0.0, 0.0] and many._steps == 0


def test_the_controller_does_on_the_robot_what_the_policy_did_in_training() -> None:
    """The same task, motion and noise: in the family's environment, and as a controller that drives the plant."""
    task = FAMILY.sample_task(np.random.default_rng(1002))
    env = FAMILY.vector_env([task])
    seen, _ = env.reset(seed=6)
    controller = make_controller(env._robot, "meta_policy")
    network, period_s = controller._network, env._robot.control_period_s
    network.reset(1)
    errors, reward, start = [], np.zeros(1), np.ones(1)
    for _ in range(100):
        action = np.clip(network.act(seen.astype(float), reward, start), -1.0, 1.0)
        network.acted(action)
        seen, reward, _, _, _ = env.step(action)
        errors.append(env._measured.q[0] - env._now().q[0])
        start = np.zeros(1)
    plant = ArmPlant(env._robot, task, env._plant._seeds[0])
    state = plant.reset(env._targets.q[0, 0], env._targets.v[0, 0])
    controller.reset()
    reference = Sampled(env._targets, period_s)
    for k in range(400):
        state = plant.step(controller.step(k * period_s, state, reference).effort, period_s)
        if k % 4 == 3:
            off = state.q - reference.sample(np.array([(k + 1) * period_s])).q[0]
            np.testing.assert_allclose(off, errors[k // 4], atol=1e-6)


def test_the_reward_is_less_the_mean_error_in_centiradians() -> None:
    env = FAMILY.vector_env([FAMILY.sample_task(np.random.default_rng(1003))])
    env.reset(seed=7)
    _, reward, *_ = env.step(np.array([[0.5, -1.0]]))
    error = np.abs(env._measured.q - env._now().q).mean() / 0.01
    assert reward[0] == pytest.approx(-error - 0.02 * (0.25 + 1.0) / 2.0)


def test_a_record_tells_robots_apart() -> None:
    assert FAMILY.facts["robot_sha256"] != load_family("panda-reach").facts["robot_sha256"]
