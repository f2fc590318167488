# SPDX-License-Identifier: Apache-2.0
"""Samples for gradients: episodes with their advantages, flattened to N samples of each of B tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metarl_robot.core.errors import MetaRLError
from metarl_robot.learning.policies.baseline import advantages
from metarl_robot.learning.policies.config import PolicyConfig
from metarl_robot.learning.policies.episodes import Scores, scores
from metarl_robot.learning.policies.family import Family
from metarl_robot.learning.policies.gaussian import Parameters
from metarl_robot.learning.policies.groups import collect_groups
from metarl_robot.parallel.engine import Engine
from metarl_robot.parallel.processes import Processes


class NotFiniteError(MetaRLError):
    """A return or a gradient is not a finite number."""

    bad_input = False


class Batch(NamedTuple):
    """Samples of B tasks.

    observations (B, N, n), actions (B, N, m), advantages (B, N); weights (B, N) with the sum 1 for each task;
    log_prob (B, N): of the actions under the policy that drew them.
    """

    observations: Tensor
    actions: Tensor
    advantages: Tensor
    weights: Tensor
    log_prob: Tensor

    def thinned(self, every: int) -> Batch:
        """Every so-many-th sample."""
        part = Batch(*(tensor[:, ::every] for tensor in self))
        return part._replace(weights=part.weights / part.weights.sum(-1, keepdim=True))


@dataclass(frozen=True)
class Sampler:
    """Collects batches of a family's tasks.

    policy: a GaussianPolicy, or the RecurrentPolicy of rl2. engine: where groups of tasks run; the samples are the same
    on any. held_out: draws tasks for scores. device: of the parameters and batches; episodes are collected on the CPU.
    """

    family: Family
    policy: Any
    config: PolicyConfig
    engine: Engine = Processes()
    held_out: bool = False
    device: torch.device = torch.device("cpu")

    def draw_tasks(self, rng: np.random.Generator, count: int) -> list[Any]:
        """Draw tasks."""
        return self.family.tasks(rng, count, self.held_out)

    def batch(
        self, tasks: Sequence[Any], count: int, parameters: Parameters, rng: np.random.Generator
    ) -> tuple[Batch, Scores]:
        """Run `count` episodes of each task under its own parameters; returns (samples, scores (B, count)).

        Raises:
            NotFiniteError: a return is NaN or infinite.
        """
        groups, threads = self.config.groups, self.config.threads
        episodes = collect_groups(self.engine, groups, threads, self.family, tasks, count, self.policy, parameters, rng)
        returns = episodes.returns
        if not np.isfinite(returns).all():
            raise NotFiniteError(f"task family '{self.family.name}': an episode's return is {_first_bad(returns)}")
        alive = episodes.alive.reshape(len(tasks), -1)
        gain = advantages(episodes, self.config.discount, self.config.gae_lambda)
        observations, actions = self._tensor(_flat(episodes.observations)), self._tensor(_flat(episodes.actions))
        with torch.no_grad():
            log_prob = self.policy(parameters, observations).log_prob(actions)
        weights = alive / alive.sum(-1, keepdims=True)
        flat_gain = self._tensor(gain.reshape(len(tasks), -1))
        found = scores(self.family, returns, np.any(episodes.fulfilled, axis=-1))
        return Batch(observations, actions, flat_gain, self._tensor(weights), log_prob), found

    def _tensor(self, array: NDArray[Any]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32)).to(self.device)


def _flat(series: NDArray[np.float32]) -> NDArray[np.float32]:
    """(B, E, T, k) -> (B, E T, k)."""
    return series.reshape(series.shape[0], -1, series.shape[-1])


def _first_bad(values: NDArray[np.float64]) -> float:
    return float(values[~np.isfinite(values)][0])
