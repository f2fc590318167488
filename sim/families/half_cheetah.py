# SPDX-License-Identifier: Apache-2.0
"""HalfCheetah whose reward or motors differ from task to task; a family is a file beside this one.

Model, observations (q without x, then v) and initial noise are those of Gymnasium's HalfCheetah-v5: 200 steps of
0.05 s. Many are stepped at once by mujoco.batch, and move bit for bit as Gymnasium's do.
"""

from __future__ import annotations

import warnings
from abc import abstractmethod
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
from metarl_robot.learning.grbal.environment import AdaptationFamily
from metarl_robot.learning.policies.family import Family
from metarl_robot.sim.families.single import threads_for

Array = NDArray[np.float64]

HORIZON, MOTORS = 200, 6
STEP_S = 0.05
_NOISE = 0.1
_CONTROL_COST = 0.1
_SPEED = 8
"""Index of ẋ in the observations."""


class HalfCheetahFamily(Family):
    """A distribution of tasks; a task is a number."""

    horizon = HORIZON

    @abstractmethod
    def rewards(self, tasks: Array, speeds: Array, actions: Array) -> Array:
        """Rewards (N,) of tasks (N,) at mean speeds (N,) [m/s] in a step with these actions (N, MOTORS)."""

    def strengths(self, tasks: Array) -> Array:
        """Strength of each motor (N, MOTORS), as a factor of the action; 1 unless a family says otherwise."""
        return np.ones((len(tasks), MOTORS))

    def gravities(self, tasks: Array) -> Array | None:
        """Gravity (N, 3) [m/s²] along and across the ground; None: Gymnasium's, on level ground."""
        return None

    def env(self, task: float) -> HalfCheetah:
        """HalfCheetah with this task."""
        return HalfCheetah(_make(), self, task)

    def vector_env(self, tasks: Sequence[float]) -> HalfCheetahs:
        """HalfCheetahs with these tasks."""
        return HalfCheetahs(self, np.array(tasks, dtype=np.float64))


class RunningHalfCheetahFamily(HalfCheetahFamily, AdaptationFamily):
    """HalfCheetahs that are to run forwards, r = ẋ - 0.1 |a|². A planner takes ẋ as the mean of both ends of a step."""

    step_s = STEP_S

    def rewards(self, tasks: Array, speeds: Array, actions: Array) -> Array:
        return np.asarray(speeds - _CONTROL_COST * np.square(actions).sum(-1))

    def planned_rewards(self, observations: Array, actions: Array, following: Array) -> Array:
        speeds = 0.5 * (observations[..., _SPEED] + following[..., _SPEED])
        return self.rewards(np.zeros(1), speeds, actions)


class HalfCheetah(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Gymnasium's HalfCheetah with a task's reward, motors and gravity."""

    def __init__(self, env: gymnasium.Env[Any, Any], family: HalfCheetahFamily, task: float) -> None:
        super().__init__(env)
        self._family, self._task = family, np.array([task])
        self._strength, gravities = family.strengths(self._task)[0], family.gravities(self._task)
        if gravities is not None:
            plain: Any = env.unwrapped
            plain.model.opt.gravity[:] = gravities[0]

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        observation, _, ended, late, info = self.env.step(self._strength * action)
        speeds, actions = np.array([info["x_velocity"]]), np.asarray(action, dtype=np.float64)[None]
        return observation, float(self._family.rewards(self._task, speeds, actions)[0]), ended, late, info


class HalfCheetahs(VectorEnv[Array, Array, Any]):
    """Many of them. tasks: (N,)."""

    metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP}

    def __init__(self, family: HalfCheetahFamily, tasks: Array) -> None:
        env = _make()
        self.single_observation_space, self.single_action_space = env.observation_space, env.action_space
        plain: Any = env.unwrapped
        self._skip, self._dt = plain.frame_skip, plain.dt
        self._batch = Batch(plain.model, nsim=len(tasks), nthread=threads_for(len(tasks)))
        self._q, self._v, self._control = (self._batch.bind(name) for name in ("qpos", "qvel", "ctrl"))
        env.close()
        self._family, self.num_envs = family, len(tasks)
        self.switch(tasks)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._steps = 0

    def switch(self, tasks: Array) -> None:
        """Change the tasks (N,); motions go on."""
        self._tasks, self._strengths = tasks, self._family.strengths(tasks)
        gravities = self._family.gravities(tasks)
        if gravities is not None:
            self._batch.expand("opt.gravity")[:] = gravities

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
        self._control[:] = self._strengths * actions
        self._batch.step(nstep=self._skip)
        self._steps += 1
        rewards = self._family.rewards(self._tasks, (self._q[:, 0] - before) / self._dt, actions)
        return self._observations(), rewards, never, never | (self._steps >= HORIZON), {}

    def _observations(self) -> Array:
        return np.concatenate([self._q[:, 1:], self._v], axis=-1)


def _make() -> gymnasium.Env[Any, Any]:
    before = mujoco.get_mju_user_warning()
    mujoco.set_mju_user_warning(_warn)
    try:
        return gymnasium.make("HalfCheetah-v5", max_episode_steps=HORIZON, reset_noise_scale=_NOISE)
    except (ImportError, gymnasium.error.DependencyNotInstalled) as error:
        raise MissingPackageError("gymnasium[mujoco]", "pip install 'metarl_robot[train]'") from error
    finally:
        mujoco.set_mju_user_warning(before)


def _warn(text: str) -> None:
    """Pass on warnings of MuJoCo, except one about an attribute of Gymnasium's model that a user cannot change."""
    if "settotalmass" not in text:
        warnings.warn(text, stacklevel=2)
