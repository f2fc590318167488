# SPDX-License-Identifier: Apache-2.0
"""Collection of episodes: E episodes of each of B tasks are stepped together, each task under its own policy.

Policies give actions in units of half the range of a bounded action space; they are clipped to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from metarl_robot.learning.policies.family import Family
from metarl_robot.learning.policies.gaussian import GaussianPolicy

Array = NDArray[np.float32]


class Episodes(NamedTuple):
    """Episodes of B tasks, T steps at most.

    observations (B, E, T, n), actions (B, E, T, m) as drawn, before clipping; rewards (B, E, T); alive (B, E, T): 1 for
    steps until the end of the episode, 0 after it; fulfilled (B, E, T): 1 for steps of it that are a success.
    """

    observations: Array
    actions: Array
    rewards: Array
    alive: Array
    fulfilled: Array

    @property
    def returns(self) -> NDArray[np.float64]:
        """Sum of rewards of each episode (B, E)."""
        return np.sum(self.rewards, axis=-1, dtype=float)


class Scores(NamedTuple):
    """Results of episodes, of any shape. successes: None where the family does not define them."""

    returns: NDArray[np.float64]
    successes: NDArray[np.bool_] | None


def scores(family: Family, returns: NDArray[np.float64], fulfilled: NDArray[np.bool_]) -> Scores:
    """Scores of episodes. fulfilled: those in which a step was a success."""
    if family.tells_success:
        return Scores(returns, fulfilled)
    return Scores(returns, None if family.solved is None else returns >= family.solved)


def told_success(info: Mapping[str, Any], count: int) -> NDArray[np.bool_]:
    """Which of so many environments tell a success in the info of a step."""
    return np.asarray(info.get("success", np.zeros(count)), dtype=bool)


def collect(
    family: Family,
    tasks: Sequence[Any],
    count: int,
    policy: GaussianPolicy,
    parameters: Sequence[Tensor],
    rng: np.random.Generator,
) -> Episodes:
    """Run `count` episodes of each task.

    Arguments:
        parameters: of the policy, one set for each task.
        rng: draws the actions and seeds the environments; the same state gives the same episodes.
    """
    weights = [parameter.detach().cpu().numpy() for parameter in parameters]
    std = np.exp(weights[-1])[:, None]
    shape = (len(tasks), count)
    env = family.vector_env([task for task in tasks for _ in range(count)])
    scale = ActionScale(env.single_action_space)
    seen, _ = env.reset(seed=int(rng.integers(2**31)))
    alive = np.ones(shape, dtype=bool)
    steps = []
    for _ in range(family.horizon):
        observation = np.asarray(seen, dtype=np.float32).reshape(*shape, -1)
        action = policy.mean(weights, observation)
        action = action + std * rng.standard_normal(action.shape, dtype=np.float32)
        seen, reward, ended, late, info = env.step(scale(action).reshape(len(tasks) * count, -1))
        gained = np.where(alive, reward.reshape(shape), 0.0).astype(np.float32)
        steps.append((observation, action, gained, alive, alive & told_success(info, alive.size).reshape(shape)))
        alive = alive & ~(ended | late).reshape(shape)
        if not alive.any():
            break
    env.close()
    return Episodes(*(np.stack(series, axis=2).astype(np.float32, copy=False) for series in zip(*steps, strict=True)))


class ActionScale:
    """Converts a policy's actions to those of a space."""

    def __init__(self, space: Any) -> None:
        self._bounded = bool(space.is_bounded("both"))
        if self._bounded:
            self._middle, self._half = 0.5 * (space.high + space.low), 0.5 * (space.high - space.low)

    def __call__(self, action: Array) -> Array:
        return self._middle + self._half * self.clipped(action) if self._bounded else action

    def clipped(self, action: Array) -> Array:
        """The actions that act, in the policy's units."""
        return np.clip(action, -1.0, 1.0) if self._bounded else action
