# SPDX-License-Identifier: Apache-2.0
"""HalfCheetah that is to run forwards or backwards, as in Finn, Abbeel, Levine (2017), section 5.3.

    r = d ẋ - 0.1 |a|²      direction d ∈ {-1, 1}, not observed; 200 steps of 0.05 s

Model, observations (q without x, then v), initial noise and control cost are those of Gymnasium's HalfCheetah-v5.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from typing import Any

import gymnasium
import mujoco
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from mujoco.batch import Batch
from numpy.typing import NDArray

from metarl_robot.core.errors import MissingPackageError
from metarl_robot.learning.policies.family import Family

Array = NDArray[np.float64]

HORIZON = 200
_CONTROL_COST = 0.1
_NOISE = 0.1


class HalfCheetahDirection(gymnasium.Wrapper[Any, Any, Any, Any]):
    """HalfCheetah with the reward of a direction, 1.0 or -1.0."""

    def __init__(self, env: gymnasium.Env[Any, Any], direction: float) -> None:
        super().__init__(env)
        self._direction = direction

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        observation, _, ended, late, info = self.env.step(action)
        return observation, self._direction * info["x_velocity"] + info["reward_ctrl"], ended, late, info


class HalfCheetahDirections(VectorEnv[Array, Array, Any]):
    """Many of them, stepped by mujoco.batch; each moves as Gymnasium's does. directions: (N,)."""

    metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP}

    def __init__(self, directions: Array) -> None:
        env = _make()
        self.single_observation_space, self.single_action_space = env.observation_space, env.action_space
        plain: Any = env.unwrapped
        self._skip, self._dt = plain.frame_skip, plain.dt
        self._batch = Batch(plain.model, nsim=len(directions), nthread=len(os.sched_getaffinity(0)))
        self._q, self._v, self._control = (self._batch.bind(name) for name in ("qpos", "qvel", "ctrl"))
        env.close()
        self._directions, self.num_envs = directions, len(directions)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._steps = 0

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        super().reset(seed=seed)
        self._batch.reset()
        self._q += self.np_random.uniform(-_NOISE, _NOISE, self._q.shape)
        self._v += _NOISE * self.np_random.standard_normal(self._v.shape)
        self._steps = 0
        return self._observations(), {}

    def step(self, actions: Array) -> tuple[Array, Array, NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        never = np.zeros(self.num_envs, dtype=bool)
        if self._steps >= HORIZON:
            return self.reset()[0], np.zeros(self.num_envs), never, never, {}
        before = self._q[:, 0].copy()
        self._control[:] = actions
        self._batch.step(nstep=self._skip)
        self._steps += 1
        rewards = self._directions * (self._q[:, 0] - before) / self._dt
        rewards -= _CONTROL_COST * np.square(actions).sum(-1)
        return self._observations(), rewards, never, never | (self._steps >= HORIZON), {}

    def _observations(self) -> Array:
        return np.concatenate([self._q[:, 1:], self._v], axis=-1)


class HalfCheetahDirectionFamily(Family):
    """HalfCheetahs that are to run in one of two directions; a task is the direction, 1.0 or -1.0."""

    name, horizon = "half-cheetah-direction", HORIZON

    def sample_task(self, rng: np.random.Generator) -> float:
        """Draw a direction."""
        return float(rng.choice((-1.0, 1.0)))

    def env(self, task: float) -> HalfCheetahDirection:
        """HalfCheetah with the reward of this direction."""
        return HalfCheetahDirection(_make(), task)

    def vector_env(self, tasks: Sequence[float]) -> HalfCheetahDirections:
        """HalfCheetahs with the rewards of these directions."""
        return HalfCheetahDirections(np.array(tasks))


def _make() -> gymnasium.Env[Any, Any]:
    before = mujoco.get_mju_user_warning()
    mujoco.set_mju_user_warning(_warn)
    try:
        return gymnasium.make(
            "HalfCheetah-v5",
            max_episode_steps=HORIZON,
            ctrl_cost_weight=_CONTROL_COST,
            reset_noise_scale=_NOISE,
        )
    except (ImportError, gymnasium.error.DependencyNotInstalled) as error:
        raise MissingPackageError("gymnasium[mujoco]", "pip install 'metarl_robot[train]'") from error
    finally:
        mujoco.set_mju_user_warning(before)


def _warn(text: str) -> None:
    """Pass on warnings of MuJoCo, except one about an attribute of Gymnasium's model that a user cannot change."""
    if "settotalmass" not in text:
        warnings.warn(text, stacklevel=2)


FAMILY = HalfCheetahDirectionFamily()
