# SPDX-License-Identifier: Apache-2.0
"""LunarLander whose rules change: gravity, wind and engine strength differ from task to task and are not observed.

Body, terrain, observations, rewards and actions (main engine, side engines) are those of Gymnasium's LunarLander-v3
with continuous actions. Its gravity is a setting. The wind is a steady force on the lander's body until a leg touches
the ground, as Gymnasium's unsteady one; the impulses of all engines are multiplied by the strength. In all tasks the
main engine's mean thrust is at least 1.3 times the weight. An episode succeeds with a return of 200, as Gymnasium
defines it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import gymnasium
import numpy as np

from metarl_robot.core.errors import MissingPackageError
from metarl_robot.learning.policies.family import Family

HORIZON = 400
"""Steps of 0.02 s; Gymnasium's own heuristic lands in about 200."""
SOLVED = 200.0


class Rules(NamedTuple):
    """A task. gravity [units/s²], wind [units of force], engines: strength as a multiple of Gymnasium's."""

    gravity: float
    wind: float
    engines: float


LOWEST, HIGHEST = Rules(-10.0, -10.0, 0.75), Rules(-3.0, 10.0, 1.25)


class ChangedLunarLander(gymnasium.Wrapper[Any, Any, Any, Any]):
    """LunarLander with the wind and engines of a task; its gravity is that of `env`."""

    def __init__(self, env: gymnasium.Env[Any, Any], rules: Rules) -> None:
        super().__init__(env)
        self._rules = rules

    def reset(self, **given: Any) -> Any:
        first = self.env.reset(**given)
        lander: Any = self.env.unwrapped.lander  # type: ignore[attr-defined]
        push, strength = lander.ApplyLinearImpulse, self._rules.engines
        lander.ApplyLinearImpulse = lambda impulse, point, wake: push(
            (strength * impulse[0], strength * impulse[1]), point, wake
        )
        return first

    def step(self, action: Any) -> Any:
        flying: Any = self.env.unwrapped
        if not any(leg.ground_contact for leg in flying.legs):
            flying.lander.ApplyForceToCenter((self._rules.wind, 0.0), True)
        return self.env.step(action)


class LunarLanderFamily(Family):
    """LunarLanders under different rules."""

    name, horizon, solved, scored = "lunar-lander", HORIZON, SOLVED, (40, 10)

    def sample_task(self, rng: np.random.Generator) -> Rules:
        """Draw rules, uniformly."""
        return Rules(*rng.uniform(LOWEST, HIGHEST).tolist())

    def env(self, task: Rules) -> ChangedLunarLander:
        """LunarLander under these rules."""
        try:
            env = gymnasium.make(
                "LunarLander-v3",
                continuous=True,
                gravity=task.gravity,
                max_episode_steps=HORIZON,
                disable_env_checker=True,
            )
        except gymnasium.error.DependencyNotInstalled as error:
            raise MissingPackageError("gymnasium[box2d]", "pip install 'metarl_robot[games]'") from error
        return ChangedLunarLander(env, task)


FAMILY = LunarLanderFamily()
