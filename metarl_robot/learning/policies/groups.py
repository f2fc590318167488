# SPDX-License-Identifier: Apache-2.0
"""Collection of episodes in groups of tasks: each has random numbers of its own, so that an engine runs them anywhere.

The number of groups belongs to the settings of a run, because it changes the random numbers; the engine does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from metarl_robot.learning.policies.episodes import Array, Episodes, collect
from metarl_robot.learning.policies.family import Family
from metarl_robot.learning.policies.gaussian import GaussianPolicy
from metarl_robot.learning.policies.threads import limited_threads
from metarl_robot.parallel.engine import Engine, in_order


@dataclass(frozen=True)
class _Group:
    """Arguments of episodes.collect, as data for another process. threads: processor threads."""

    family: Family
    tasks: Sequence[Any]
    count: int
    policy: GaussianPolicy
    parameters: Sequence[Tensor]
    seed: int
    threads: int


def collect_groups(
    engine: Engine,
    groups: int,
    threads: int,
    family: Family,
    tasks: Sequence[Any],
    count: int,
    policy: GaussianPolicy,
    parameters: Sequence[Tensor],
    rng: np.random.Generator,
) -> Episodes:
    """Run `count` episodes of each task, in at most `groups` groups of tasks; see episodes.collect."""
    if groups == 1:
        return collect(family, tasks, count, policy, parameters, rng)
    shares = np.array_split(np.arange(len(tasks)), min(groups, len(tasks)))
    seeds = rng.integers(2**63, size=len(shares)).tolist()
    work = [
        _Group(
            family,
            [tasks[i] for i in share],
            count,
            policy,
            [parameter.detach()[share].clone() for parameter in parameters],
            seed,
            threads,
        )
        for share, seed in zip(shares, seeds, strict=True)
    ]
    return _joined(in_order(engine, _collected, work))


def _collected(group: _Group) -> Episodes:
    rng = np.random.default_rng(group.seed)
    with limited_threads(group.threads):
        return collect(group.family, group.tasks, group.count, group.policy, group.parameters, rng)


def _joined(parts: Sequence[Episodes]) -> Episodes:
    """All tasks' episodes; shorter ones are filled with steps after their end."""
    steps = max(part.alive.shape[2] for part in parts)
    return Episodes(
        *(np.concatenate([_filled(series, steps) for series in field]) for field in zip(*parts, strict=True))
    )


def _filled(series: Array, steps: int) -> Array:
    """(B, E, T, …) -> (B, E, steps, …), with zeros."""
    return np.pad(series, [(0, 0), (0, 0), (0, steps - series.shape[2]), *[(0, 0)] * (series.ndim - 3)])
