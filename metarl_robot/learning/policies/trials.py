# SPDX-License-Identifier: Apache-2.0
"""Trials of recurrent policies: consecutive episodes of one task, through which the policy keeps its state.

The policy sees observation, last action, last reward and whether an episode begins (Duan, Schulman, Chen, Bartlett,
Sutskever, Abbeel 2016, RL²; Wang et al. 2016), so that it can learn from one episode for the next ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from metarl_robot.control.policy_network import Recurrent
from metarl_robot.learning.policies.episodes import ActionScale, told_success
from metarl_robot.learning.policies.family import Family

Array = NDArray[Any]


class Trials(NamedTuple):
    """N trials of E episodes, T steps at most; the steps of all episodes of a trial follow each other.

    inputs (N, T, k) of the policy, its means (N, T, m), actions (N, T, m) as drawn, before clipping; rewards (N, T);
    alive (N, T): 1 for the trial's steps, 0 after its end; returns (N, E); fulfilled (N, E): whether a step of the
    episode was a success.
    """

    inputs: Array
    means: Array
    actions: Array
    rewards: Array
    alive: Array
    returns: Array
    fulfilled: Array


def collect_trials(
    family: Family, tasks: Sequence[Any], episodes: int, network: Recurrent, std: Array, rng: np.random.Generator
) -> Trials:
    """Run one trial of each task.

    Arguments:
        std: (m,) standard deviation of the actions about the network's.
        rng: draws the actions and seeds the environments; the same state gives the same trials.
    """
    env = family.vector_env(tasks)
    scale, count = ActionScale(env.single_action_space), len(tasks)
    network.reset(count)
    rewards, steps, returns, fulfilled = np.zeros(count), [], [], []
    for _ in range(episodes):
        seen, _ = env.reset(seed=int(rng.integers(2**31)))
        going, starts, total = np.ones(count, dtype=bool), np.ones(count), np.zeros(count)
        success = np.zeros(count, dtype=bool)
        for _ in range(family.horizon):
            inputs = network.inputs(np.asarray(seen).reshape(count, -1), rewards, starts)
            mean = network.advance(inputs, going)
            drawn = mean + std * rng.standard_normal(mean.shape, dtype=np.float32)
            seen, reward, ended, late, info = env.step(scale(drawn))
            steps.append((inputs, mean, drawn, np.where(going, reward, 0.0), going))
            network.acted(np.where(going[:, None], scale.clipped(drawn), network.last_action))
            rewards, starts = np.where(going, reward, rewards), np.zeros(count)
            total += np.where(going, reward, 0.0)
            success |= going & told_success(info, count)
            going = going & ~(ended | late)
            if not going.any():
                break
        returns.append(total)
        fulfilled.append(success)
    env.close()
    series = (np.stack(each, axis=1) for each in zip(*steps, strict=True))
    return Trials(*_without_gaps(*series), np.stack(returns, axis=1), np.stack(fulfilled, axis=1))


def _without_gaps(
    inputs: Array, means: Array, actions: Array, rewards: Array, alive: Array
) -> tuple[Array, Array, Array, Array, Array]:
    """Move the steps after the end of an episode to the end of the trial."""
    order = np.argsort(~alive, axis=1, kind="stable")[:, : int(alive.sum(1).max())]
    inputs, means, actions = (np.take_along_axis(x, order[..., None], axis=1) for x in (inputs, means, actions))
    rewards, alive = (np.take_along_axis(x, order, axis=1).astype(np.float32) for x in (rewards, alive))
    return inputs, means, actions, rewards, alive
