# SPDX-License-Identifier: Apache-2.0
"""ProMP (Rothfuss, Lee, Clavera, Asfour, Abbeel 2019): maml_pg with a proximal outer step in place of a trust region.

    maximise over θ   mean over tasks of J^clip_i(θ'_i) - η D(π_old, π_θ),      θ'_i = θ + α ∇J_i(θ)

J_i and its gradient are those of adaptation.py, at the present θ on episodes of θ_old. J^clip_i rests on episodes of
the old adapted policies, with ratios clipped to 1 ± ε (Schulman et al. 2017). D is the mean divergence before
adaptation. Several Adam steps are taken on the same episodes.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from metarl_robot.learning.policies.adam_state import AdamTrained
from metarl_robot.learning.policies.algorithm import Metrics
from metarl_robot.learning.policies.gaussian import Gaussian, Parameters, for_tasks
from metarl_robot.learning.policies.maml_pg import collect_meta
from metarl_robot.learning.policies.meta_objective import MetaObjective
from metarl_robot.learning.policies.sampling import NotFiniteError, Sampler

_CLIP = 0.3
_STEPS = 5
_DIVERGENCE_WEIGHT = 5e-4
"""ε, number of Adam steps and η as published."""


class ProMp(AdamTrained):
    """The weights before adaptation, Adam's moments, and one iteration of their training."""

    tunes_rate = False

    def __init__(self, sampler: Sampler) -> None:
        super().__init__(sampler, sampler.config.ppo_rate)

    def step(self, rng: np.random.Generator) -> Metrics:
        """Collect episodes before and after adaptation, and take several steps on them."""
        before = self.state()
        start = [p.detach().clone() for p in self.parameters]
        objective, _, returns = collect_meta(self._sampler, start, rng)
        old = distributions(objective, start)
        for _ in range(_STEPS):
            self._optimiser.zero_grad()
            proximal_value(objective, self.parameters, old).backward()
            if not all(p.grad is not None and torch.isfinite(p.grad).all() for p in self.parameters):
                self.restore(before)
                raise NotFiniteError("a policy gradient is not finite")
            self._optimiser.step()
        with torch.no_grad():
            moved = float(old.divergence(distributions(objective, self.parameters)).mean())
        return {"return_before": returns[0], "return_after": returns[-1], "kl": moved}


def distributions(objective: MetaObjective, parameters: Parameters) -> Gaussian:
    """Distributions before adaptation, at the observations of the first episodes."""
    support = objective.support[0]
    return objective.policy(for_tasks(parameters, len(support.weights)), support.observations)


def proximal_value(objective: MetaObjective, parameters: Parameters, old: Gaussian) -> Tensor:
    """Clipped objective of the adapted policies, less the divergence from `old` before adaptation."""
    query, support = objective.query, objective.support[0]
    found = objective.policy(objective.adapted(parameters), query.observations)
    ratio = torch.exp(found.log_prob(query.actions) - query.log_prob)
    clipped = torch.clamp(ratio, 1.0 - _CLIP, 1.0 + _CLIP)
    gained = (torch.minimum(ratio * query.advantages, clipped * query.advantages) * query.weights).sum(-1).mean()
    moved = (old.divergence(distributions(objective, parameters)) * support.weights).sum(-1).mean()
    return gained - _DIVERGENCE_WEIGHT * moved
