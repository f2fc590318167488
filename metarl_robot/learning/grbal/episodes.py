# SPDX-License-Identifier: Apache-2.0
"""Episodes of environments whose tasks may change halfway, under planners with adaptive models or random actions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from metarl_robot.control.adaptive_model import AdaptiveModel, Trained
from metarl_robot.control.model_planner import ModelPlanner, Planning
from metarl_robot.core.errors import MetaRLError
from metarl_robot.learning.grbal.environment import AdaptationFamily

Array = NDArray[np.float64]


class Episodes(NamedTuple):
    """E episodes of T steps: observations (E, T + 1, n), actions (E, T, nu) in [-1, 1], returns (E,)."""

    observations: Array
    actions: Array
    returns: Array

    @property
    def transitions(self) -> int:
        return self.actions.shape[0] * self.actions.shape[1]


class Tasks(NamedTuple):
    """Tasks of E episodes: from the start, and from the middle on."""

    first: Sequence[Any]
    later: Sequence[Any]


class Agent(Protocol):
    """Acts in one episode."""

    def act(self, state: Array) -> Array:
        """Action (nu,) in a state (n,)."""
        ...

    def observe(self, state: Array, action: Array, following: Array) -> None:
        """Learn what followed."""
        ...


class RandomAgent:
    """Uniform actions."""

    def __init__(self, actions: int, seed: int) -> None:
        self._actions, self._random = actions, np.random.default_rng(seed)

    def act(self, state: Array) -> Array:
        return self._random.uniform(-1.0, 1.0, self._actions)

    def observe(self, state: Array, action: Array, following: Array) -> None:
        pass


class PlanningAgent:
    """Sampling MPC with an adaptive model."""

    def __init__(
        self, family: AdaptationFamily, trained: Trained, memory: int, planning: Planning, actions: int, seed: int
    ) -> None:
        self._model = AdaptiveModel(trained, memory)
        self._planner = ModelPlanner(planning, actions, self._model.advance, family.planned_rewards, seed)

    def act(self, state: Array) -> Array:
        return self._planner.act(state)

    def observe(self, state: Array, action: Array, following: Array) -> None:
        self._model.observe(state, action, following)


def run_episodes(family: AdaptationFamily, tasks: Tasks, agents: Sequence[Agent], seed: int) -> Episodes:
    """Run one episode with each agent.

    Arguments:
        seed: of the starts; the same for the same number of episodes.

    Raises:
        MetaRLError: an observation or a reward is not finite.
    """
    env = family.vector_env(tasks.first)
    seen, _ = env.reset(seed=seed)
    observations, actions, returns = [np.array(seen)], [], np.zeros(len(agents))
    for step in range(family.horizon):
        if step == family.horizon // 2:
            env.switch(np.asarray(tasks.later, dtype=np.float64))
        acted = np.stack([agent.act(state) for agent, state in zip(agents, seen, strict=True)])
        following, rewards, *_ = env.step(acted)
        if not (np.isfinite(following).all() and np.isfinite(rewards).all()):
            raise MetaRLError(f"environment '{family.name}': an observation or a reward is not finite in step {step}")
        for agent, before, action, after in zip(agents, seen, acted, following, strict=True):
            agent.observe(before, action, after)
        seen = np.array(following)
        observations.append(seen)
        actions.append(acted)
        returns += rewards
    env.close()
    return Episodes(np.stack(observations, axis=1), np.stack(actions, axis=1), returns)
