# SPDX-License-Identifier: Apache-2.0
"""Objective of the weights before adaptation, on given samples; the gradient passes through the adaptation exactly.

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
