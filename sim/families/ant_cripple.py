# SPDX-License-Identifier: Apache-2.0
"""Ant with a lame leg that is to run along x, as in Nagabandi et al. (2019), section 6.

r = ẋ      which of the four legs is lame is not observed

Both motors of a lame leg are dead. Three legs are for training, the fourth is held out, as in the paper's code
(github.com/iclavera/learning_to_adapt), which also shortens the lame leg. Model, observations (q without x and y, then
v) and initial noise are those of Gymnasium's Ant-v5, without contact forces and without an end where it falls.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from mujoco.batch import Batch
from numpy.typing import NDArray

from metarl_robot.core.errors import MissingPackageError
from metarl_robot.learning.grbal.environment import AdaptationFamily
from metarl_robot.sim.families.single import Single, threads_for

Array = NDArray[np.float64]

HORIZON, STEP_S = 200, 0.05
_NOISE = 0.1
_MOTORS = np.array([[2, 3], [4, 5], [6, 7], [0, 1]])
"""Motors of each leg: left, right and rear ones, then the one that is held out."""
_SPEED = 13
"""Index of ẋ in the observations."""


class Ants(VectorEnv[Array, Array, Any]):
    """Many ants. tasks: (N,) numbers of lame legs."""

    metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP}

    def __init__(self, tasks: Array) -> None:
        plain: Any = _make()
        self._start, self._skip = plain.init_qpos.copy(), plain.frame_skip
        self._batch = Batch(plain.model, nsim=len(tasks), nthread=threads_for(len(tasks)))
        self._q, self._v, self._control = (self._batch.bind(name) for name in ("qpos", "qvel", "ctrl"))
        self.num_envs = len(tasks)
        self.single_action_space = plain.action_space
        size = self._q.shape[1] - 2 + self._v.shape[1]
        self.single_observation_space = Box(-np.inf, np.inf, (size,), np.float64)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        plain.close()
        self.switch(tasks)
        self._steps = 0

    def switch(self, tasks: Array) -> None:
        """Change the tasks (N,); motions go on."""
        self._strengths = np.ones(self._control.shape)
        np.put_along_axis(self._strengths, _MOTORS[np.asarray(tasks, dtype=int)], 0.0, axis=1)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        super().reset(seed=seed)
        self._batch.reset()
        self._q[:] = self._start + self.np_random.uniform(-_NOISE, _NOISE, self._q.shape)
        self._v[:] = _NOISE * self.np_random.standard_normal(self._v.shape)
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
        return self._observations(), (self._q[:, 0] - before) / STEP_S, never, never | (self._steps >= HORIZON), {}

    def _observations(self) -> Array:
        return np.concatenate([self._q[:, 2:], self._v], axis=-1)


class AntCrippleFamily(AdaptationFamily):
    """Ants with a lame leg; a task is the leg's number, from 0 to 3."""

    name, horizon, step_s = "ant-cripple", HORIZON, STEP_S

    def sample_task(self, rng: np.random.Generator) -> float:
        """Draw a leg."""
        return float(rng.integers(len(_MOTORS)))

    def training_task(self, rng: np.random.Generator) -> float:
        return float(rng.integers(len(_MOTORS) - 1))

    def held_out_task(self, rng: np.random.Generator) -> float:
        return float(len(_MOTORS) - 1)

    def planned_rewards(self, observations: Array, actions: Array, following: Array) -> Array:
        return np.asarray(0.5 * (observations[..., _SPEED] + following[..., _SPEED]))

    def env(self, task: float) -> Single:
        """The ant with this task."""
        return Single(self.vector_env([task]))

    def vector_env(self, tasks: Sequence[float]) -> Ants:
        """Ants with these tasks."""
        return Ants(np.array(tasks, dtype=np.float64))


def _make() -> Any:
    try:
        return gymnasium.make("Ant-v5").unwrapped
    except (ImportError, gymnasium.error.DependencyNotInstalled) as error:
        raise MissingPackageError("gymnasium[mujoco]", "pip install 'metarl_robot[train]'") from error


FAMILY = AntCrippleFamily()
