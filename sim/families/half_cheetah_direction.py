# SPDX-License-Identifier: Apache-2.0
"""HalfCheetah that is to run forwards or backwards, as in Finn, Abbeel, Levine (2017), section 5.3.

    r = d ẋ - 0.1 |a|²      direction d ∈ {-1, 1}, not observed; 200 steps of 0.05 s

Environment: Gymnasium's HalfCheetah-v5 on MuJoCo, whose observations, initial noise and control cost apply.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np

from metarl_robot.core.errors import MissingPackageError
from metarl_robot.learning.policies.family import Family

_HORIZON = 200
_CONTROL_COST = 0.1


class HalfCheetahDirection(gymnasium.Wrapper[Any, Any, Any, Any]):
    """HalfCheetah with the reward of a direction, 1.0 or -1.0."""

    def __init__(self, env: gymnasium.Env[Any, Any], direction: float) -> None:
        super().__init__(env)
        self._direction = direction

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        observation, _, ended, late, info = self.env.step(action)
        return observation, self._direction * info["x_velocity"] + info["reward_ctrl"], ended, late, info


class HalfCheetahDirectionFamily(Family):
    """HalfCheetahs that are to run in one of two directions; a task is the direction, 1.0 or -1.0."""

    name, horizon = "half-cheetah-direction", _HORIZON

    def sample_task(self, rng: np.random.Generator) -> float:
        """Draw a direction."""
        return float(rng.choice((-1.0, 1.0)))

    def env(self, task: float) -> HalfCheetahDirection:
        """HalfCheetah with the reward of this direction."""
        try:
            env = gymnasium.make("HalfCheetah-v5", max_episode_steps=_HORIZON, ctrl_cost_weight=_CONTROL_COST)
        except (ImportError, gymnasium.error.DependencyNotInstalled) as error:
            raise MissingPackageError("gymnasium[mujoco]", "pip install 'metarl_robot[train]'") from error
        return HalfCheetahDirection(env, task)


FAMILY = HalfCheetahDirectionFamily()
