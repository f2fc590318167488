# SPDX-License-Identifier: Apache-2.0
"""The meta-objective in groups of tasks, which an engine computes side by side: its gradient, and the line search.

Objective, gradient and divergence are means over tasks, so that those of all tasks are the weighted means of the parts.
The metric of the trust region stays in this process: it uses few samples, and many products that follow each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metarl_robot.learning.policies.gaussian import Gaussian
from metarl_robot.learning.policies.meta_objective import MetaObjective
from metarl_robot.learning.policies.sampling import Batch
from metarl_robot.learning.policies.threads import limited_threads
from metarl_robot.parallel.engine import Engine, in_order


@dataclass(frozen=True)
class _Job:
    """One part, for another process. share: of the tasks. old: distributions before the step."""

    objective: MetaObjective
    old: Gaussian
    share: float
    parameters: Sequence[Tensor]
    threads: int


class MetaParts:
    """A meta-objective in groups of tasks.

    Arguments:
        old: distributions of the adapted policies before the step, at the samples of the query.
        groups: number of groups; 1: the objective as it is.
        threads: processor threads of each.
    """

    def __init__(self, engine: Engine, objective: MetaObjective, old: Gaussian, groups: int, threads: int) -> None:
        self._engine, self._threads = engine, threads
        count = len(objective.query.weights)
        shares = np.array_split(np.arange(count), min(groups, count)) if groups > 1 else [np.arange(count)]
        self._parts = [
            (_part(objective, share), Gaussian(*_of(old, share)), len(share) / count)
            if groups > 1
            else (objective, old, 1.0)
            for share in shares
        ]

    def slope(self, parameters: Sequence[Tensor]) -> tuple[float, Tensor]:
        """Objective and its gradient, flat."""
        values, slopes = zip(*in_order(self._engine, _slope, self._jobs(parameters)), strict=True)
        return sum(values), torch.stack(slopes).sum(0)

    def outcome(self, parameters: Sequence[Tensor]) -> tuple[float, float]:
        """(objective, divergence from the old distributions)."""
        values, distances = zip(*in_order(self._engine, _outcome, self._jobs(parameters)), strict=True)
        return sum(values), sum(distances)

    def _jobs(self, parameters: Sequence[Tensor]) -> list[_Job]:
        given = [parameter.detach() for parameter in parameters]
        return [_Job(objective, old, share, given, self._threads) for objective, old, share in self._parts]


def _slope(job: _Job) -> tuple[float, Tensor]:
    with limited_threads(job.threads):
        value, slope = job.objective.slope(job.parameters)
        return job.share * value, job.share * slope


def _outcome(job: _Job) -> tuple[float, float]:
    with limited_threads(job.threads):
        value, distance = job.objective.outcome(job.parameters, job.old)
        return job.share * value, job.share * distance


def _part(objective: MetaObjective, tasks: NDArray[np.int_]) -> MetaObjective:
    support = [Batch(*_of(batch, tasks)) for batch in objective.support]
    return MetaObjective(objective.policy, support, Batch(*_of(objective.query, tasks)), objective.rate)


def _of(tensors: Sequence[Tensor], tasks: NDArray[np.int_]) -> list[Tensor]:
    """Tensors of some tasks; copies, so that a job does not carry those of all."""
    return [tensor[torch.from_numpy(tasks)] for tensor in tensors]
