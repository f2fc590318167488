# SPDX-License-Identifier: Apache-2.0
"""Plain policy gradient (Williams 1992, REINFORCE, with advantages and Adam) over all tasks together.

The baseline of maml_pg: pre-trained on the same tasks with as many episodes, then fine-tuned to a task by the same
gradient steps, with the best step size of a grid.
"""

from __future__ import annotations

import numpy as np
import torch

from metarl_robot.learning.policies.adam_state import AdamTrained
from metarl_robot.learning.policies.adaptation import surrogate
from metarl_robot.learning.policies.algorithm import Metrics
from metarl_robot.learning.policies.gaussian import for_tasks
from metarl_robot.learning.policies.sampling import NotFiniteError, Sampler


class Pg(AdamTrained):
    """The weights and Adam's moments, and one iteration of their training."""

    tunes_rate = True

    def __init__(self, sampler: Sampler) -> None:
        super().__init__(sampler, sampler.config.learning_rate)

    def step(self, rng: np.random.Generator) -> Metrics:
        """Collect as many episodes as maml_pg does, and take one gradient step."""
        config = self._config
        tasks = self._sampler.draw_tasks(rng, config.tasks)
        count = config.episodes * (config.inner_steps + 1)
        batch, score = self._sampler.batch(tasks, count, for_tasks(self.parameters, config.tasks), rng)
        value = surrogate(self._sampler.policy, for_tasks(self.parameters, config.tasks), batch).mean()
        self._optimiser.zero_grad()
        value.backward()
        if not all(p.grad is not None and torch.isfinite(p.grad).all() for p in self.parameters):
            raise NotFiniteError("a policy gradient is not finite")
        self._optimiser.step()
        return {"return_before": float(score.returns.mean())}
