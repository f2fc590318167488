# SPDX-License-Identifier: Apache-2.0
"""Objective of the weights before adaptation, on given samples; the gradient passes through the adaptation exactly.

With v_k the gradient by the weights after k steps, v_{k-1} = v_k + α_k H_k v_k, with H_k the Hessian of step k's
surrogate. The CPU computes it task by task in closed form (score_gradient.py), a GPU by autograd on all tasks at once.

The metric of the trust region uses every `_THINNING`-th sample: it shapes the step. The line search checks objective
and divergence with all samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from metarl_robot.learning.policies.adaptation import adapt, rate_of, surrogate, surrogate_of
from metarl_robot.learning.policies.gaussian import Gaussian, GaussianPolicy, Parameters, for_tasks
from metarl_robot.learning.policies.sampling import Batch
from metarl_robot.learning.policies.score_gradient import Packed, ScoreGradient, packed, unpacked
from metarl_robot.learning.policies.trust_region import flat, gradient_of

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

    def slope(self, parameters: Sequence[Tensor]) -> tuple[float, Tensor]:
        """Mean surrogate of the adapted policies, and its gradient by the parameters, flat."""
        if parameters[0].device.type != "cpu":
            return gradient_of(self.value)([parameter.detach().requires_grad_() for parameter in parameters])
        with torch.no_grad():
            return self._slope_by_tasks(packed(parameters))

    def _slope_by_tasks(self, start: Packed) -> tuple[float, Tensor]:
        batches = (*self.support, self.query)
        widths = self.policy.widths
        scores = [ScoreGradient(widths, batch.weights.shape[1], start[0]) for batch in batches]
        rates = [rate_of(step, self.rate) for step in range(len(self.support))]
        count = len(self.query.weights)
        total, slope = 0.0, [torch.zeros_like(parameter) for parameter in start]
        for task in range(count):
            samples = [Batch(*(tensor[task] for tensor in batch)) for batch in batches]
            value, by_task = _task_slope(scores, start, samples, rates)
            total += value.item()
            for sum_of_tasks, own in zip(slope, by_task, strict=True):
                sum_of_tasks.add_(own, alpha=1.0 / count)
        return total / count, flat(unpacked(slope))

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


def _task_slope(
    scores: Sequence[ScoreGradient], start: Packed, samples: Sequence[Batch], rates: Sequence[float]
) -> tuple[Tensor, Packed]:
    """Surrogate of a task's adapted policy, and its gradient by the weights before adaptation."""
    own = start
    for score, batch, rate in zip(scores[:-1], samples[:-1], rates, strict=True):
        own = _moved(own, score.at(own, batch)[1], rate)
    value, slope = scores[-1].at(own, samples[-1])
    for score, rate in zip(reversed(scores[:-1]), reversed(rates), strict=True):
        slope = _moved(slope, score.product(slope), rate)
    return value, slope


def _moved(start: Packed, along: Packed, rate: float) -> Packed:
    return [torch.add(first, change, alpha=rate) for first, change in zip(start, along, strict=True)]
