# SPDX-License-Identifier: Apache-2.0
"""2-D navigation of Finn, Abbeel, Levine (2017), section 5.3: a point moves to a goal that it does not observe.

    p ← p + clip(a, -0.1, 0.1)      r = -|p - g|      goal g ~ U([-0.5, 0.5]²), start p = 0, at most 100 steps

An episode ends early where both coordinates are within 0.01 of the goal's. The settings are those of the published
code (github.com/cbfinn/maml_rl, maml_examples/point_env_randgoal.py). The paper's text states the squared distance;
its figure 4 fits the distance of its code: a policy that stands still has the mean return -38.3, with squares -16.7.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import Env, spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from metarl_robot.learning.policies.family import Family

Array = NDArray[np.float32]

HORIZON = 100
_REACH = 0.5
_STEP = 0.1
_ARRIVED = 0.01
_OBSERVATIONS = spaces.Box(-np.inf, np.inf, (2,), np.float32)
_ACTIONS = spaces.Box(-_STEP, _STEP, (2,), np.float32)


def advance(position: Array, action: Array, goal: Array) -> tuple[Array, Array, NDArray[np.bool_]]:
    """One step of points (…, 2); returns (positions (…, 2), rewards (…), whether they arrived (…))."""
    moved = position + np.clip(action, -_STEP, _STEP)
    offset = moved - goal
    return moved, -np.linalg.norm(offset, axis=-1), np.all(np.abs(offset) < _ARRIVED, axis=-1)


class PointNavigation(Env[Array, Array]):
    """One point. goal: (2,)."""

    observation_space, action_space = _OBSERVATIONS, _ACTIONS

    def __init__(self, goal: Array) -> None:
        self._goal = goal
        self._position = np.zeros(2, dtype=np.float32)
        self._steps = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        super().reset(seed=seed)
        self._position, self._steps = np.zeros(2, dtype=np.float32), 0
        return self._position, {}

    def step(self, action: Array) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        self._position, reward, arrived = advance(self._position, action, self._goal)
        self._steps += 1
        return self._position, float(reward), bool(arrived), self._steps >= HORIZON, {}


class PointNavigations(VectorEnv[Array, Array, Any]):
    """Many points in one array. goals: (N, 2)."""

    metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP}

    def __init__(self, goals: Array) -> None:
        self._goals, self.num_envs = goals, len(goals)
        self.single_observation_space, self.single_action_space = _OBSERVATIONS, _ACTIONS
        self.observation_space = batch_space(_OBSERVATIONS, self.num_envs)
        self.action_space = batch_space(_ACTIONS, self.num_envs)
        self.reset()

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        super().reset(seed=seed)
        self._positions = np.zeros((self.num_envs, 2), dtype=np.float32)
        self._steps = np.zeros(self.num_envs, dtype=int)
        self._ended = np.zeros(self.num_envs, dtype=bool)
        return self._positions, {}

    def step(self, actions: Array) -> tuple[Array, Array, NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        moved, rewards, arrived = advance(self._positions, actions, self._goals)
        fresh = self._ended
        self._positions = np.where(fresh[:, None], np.float32(0.0), moved)
        self._steps = np.where(fresh, 0, self._steps + 1)
        arrived, late = arrived & ~fresh, self._steps >= HORIZON
        self._ended = arrived | late
        return self._positions, np.where(fresh, 0.0, rewards), arrived, late, {}


class PointNavigationFamily(Family):
    """Points with different goals; a task is its goal (2,)."""

    name, horizon = "point-navigation", HORIZON

    def sample_task(self, rng: np.random.Generator) -> Array:
        """Draw a goal (2,)."""
        return rng.uniform(-_REACH, _REACH, 2).astype(np.float32)

    def env(self, task: Array) -> PointNavigation:
        """The point with this goal."""
        return PointNavigation(task)

    def vector_env(self, tasks: Sequence[Array]) -> PointNavigations:
        """Points with these goals."""
        return PointNavigations(np.stack(tasks))


FAMILY = PointNavigationFamily()
