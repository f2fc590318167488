# SPDX-License-Identifier: Apache-2.0
"""MAML with policy gradients (Finn, Abbeel, Levine 2017): weights from which a gradient step adapts to a task.

    maximise over θ   mean over tasks of J_i(θ'_i),      θ'_i = θ + α ∇J_i(θ)

J_i(θ) rests on episodes of θ, J_i(θ'_i) on episodes of θ'_i (adaptation.py). The gradient passes through the adaptation
exactly (meta_objective.py). The outer step is a trust-region step whose divergence is that of the adapted policies.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from metarl_robot.learning.policies.adaptation import adapt, rate_of
from metarl_robot.learning.policies.algorithm import Metrics, first_parameters
from metarl_robot.learning.policies.gaussian import Parameters, for_tasks
from metarl_robot.learning.policies.meta_objective import MetaObjective
from metarl_robot.learning.policies.meta_parts import MetaParts
from metarl_robot.learning.policies.sampling import Sampler
from metarl_robot.learning.policies.trust_region import trust_region_step


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
        returns.append(float(score.returns.mean()))
    query, score = sampler.batch(tasks, config.episodes, own, rng)
    return MetaObjective(policy, support, query, config.inner_rate), own, [*returns, float(score.returns.mean())]


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
        config = self._sampler.config
        parts = MetaParts(self._sampler.engine, objective, old, config.groups, config.threads)
        self.parameters, distance = trust_region_step(
            self.parameters, parts.slope, parts.outcome, objective.thinned().metric, config.max_kl
        )
        return {"return_before": returns[0], "return_after": returns[-1], "kl": distance}

    def state(self) -> dict[str, Tensor]:
        """All that an iteration changes."""
        return dict(zip(self._sampler.policy.shapes, self.parameters, strict=True))

    def restore(self, state: dict[str, Tensor]) -> None:
        """Continue from a state."""
        self.parameters = [state[name].to(self._sampler.device) for name in self._sampler.policy.shapes]
