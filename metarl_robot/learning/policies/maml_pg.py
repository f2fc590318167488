# SPDX-License-Identifier: Apache-2.0
"""MAML with policy gradients (Finn, Abbeel, Levine 2017): weights from which a gradient step adapts to a task.

    maximise over θ   mean over tasks of J_i(θ'_i),      θ'_i = θ + α ∇J_i(θ)

J_i(θ) rests on episodes of θ, J_i(θ'_i) on episodes of θ'_i (adaptation.py). The gradient passes through the adaptation
exactly. The outer step is a trust-region step whose divergence is that of the adapted policies. Its metric uses every
`_THINNING`-th sample: it shapes the step, and the line search checks objective and divergence with all samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from metarl_robot.learning.policies.adaptation import adapt, rate_of, surrogate, surrogate_of
from metarl_robot.learning.policies.algorithm import Metrics, first_parameters
from metarl_robot.learning.policies.gaussian import Gaussian, GaussianPolicy, Parameters, for_tasks
from metarl_robot.learning.policies.sampling import Batch, Sampler
from metarl_robot.learning.policies.trust_region import trust_region_step

_THINNING = 10


@dataclass(frozen=True)
class MetaObjective:
    """Objective of the weights before adaptation, on given samples.

    support: one batch for each step of the adaptation. query: episodes of the adapted policies. rate: of the first
    step.
    """

    policy: GaussianPolicy
    support: Sequence[Batch]
    query: Batch
    rate: float

    def adapted(self, parameters: Sequence[Tensor], differentiable: bool = True) -> Parameters:
        """Adapted parameters of each task. differentiable: with the graph of their derivative."""
        own = for_tasks(parameters, len(self.query.weights))
        for step, batch in enumerate(self.support):
            own = adapt(self.policy, own, batch, rate_of(step, self.rate), differentiable)
        return own

    def value(self, parameters: Sequence[Tensor]) -> Tensor:
        """Mean surrogate of the adapted policies."""
        return surrogate(self.policy, self.adapted(parameters), self.query).mean()

    def outcome(self, parameters: Sequence[Tensor], old: Gaussian) -> tuple[float, float]:
        """(mean surrogate, mean divergence from `old`) of the adapted policies, as numbers."""
        own = self.adapted(parameters, differentiable=False)
        with torch.no_grad():
            now = self.policy(own, self.query.observations)
            return surrogate_of(now, self.query).mean().item(), self._mean(old.divergence(now)).item()

    def metric(self, parameters: Sequence[Tensor]) -> Tensor:
        """Mean divergence of the adapted policies from themselves: zero, with the Hessian of that from the old ones."""
        now = self.policy(self.adapted(parameters), self.query.observations)
        return self._mean(Gaussian(now.mean.detach(), now.log_std.detach()).divergence(now))

    def _mean(self, values: Tensor) -> Tensor:
        """Mean over samples, then tasks; values: (B, N)."""
        return (values * self.query.weights).sum(-1).mean()

    def thinned(self) -> MetaObjective:
        """The same on fewer samples."""
        support = [batch.thinned(_THINNING) for batch in self.support]
        return MetaObjective(self.policy, support, self.query.thinned(_THINNING), self.rate)


def collect_meta(
    sampler: Sampler, parameters: Parameters, rng: np.random.Generator
) -> tuple[MetaObjective, Parameters, list[float]]:
    """Collect episodes before and after each step of the adaptation.

    Returns (objective, adapted parameters of each task, mean return before and after each step).
    """
    config, policy = sampler.config, sampler.policy
    tasks = sampler.draw_tasks(rng, config.tasks)
    own, support, returns = for_tasks(parameters, config.tasks), [], []
    for step in range(config.inner_steps):
        batch, score = sampler.batch(tasks, config.episodes, own, rng)
        own = adapt(policy, own, batch, rate_of(step, config.inner_rate))
        support.append(batch)
        returns.append(float(score.mean()))
    query, score = sampler.batch(tasks, config.episodes, own, rng)
    return MetaObjective(policy, support, query, config.inner_rate), own, [*returns, float(score.mean())]


class MamlPg:
    """The weights before adaptation, and one iteration of their training."""

    tunes_rate = False

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler
        self.parameters = first_parameters(sampler)

    def step(self, rng: np.random.Generator) -> Metrics:
        """Collect episodes before and after adaptation, and take a trust-region step."""
        objective, own, returns = collect_meta(self._sampler, self.parameters, rng)
        with torch.no_grad():
            old = objective.policy(own, objective.query.observations)
        self.parameters, distance = trust_region_step(
            self.parameters,
            objective.value,
            lambda parameters: objective.outcome(parameters, old),
            objective.thinned().metric,
            self._sampler.config.max_kl,
        )
        return {"return_before": returns[0], "return_after": returns[-1], "kl": distance}

    def state(self) -> dict[str, Tensor]:
        """All that an iteration changes."""
        return dict(zip(self._sampler.policy.shapes, self.parameters, strict=True))

    def restore(self, state: dict[str, Tensor]) -> None:
        """Continue from a state."""
        self.parameters = [state[name] for name in self._sampler.policy.shapes]
