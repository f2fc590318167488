# SPDX-License-Identifier: Apache-2.0
"""Returns before and after each step of an adaptation, over held-out tasks.

As published: after k gradient steps a task's policy runs its episodes; their mean return is the task's score, and the
same episodes give the next gradient. Intervals hold for the mean over tasks (Student's t).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import stdtrit

from metarl_robot.control.policy_layout import RECURRENT
from metarl_robot.core.errors import MetaRLError
from metarl_robot.learning.policies.adaptation import adapt, rate_of
from metarl_robot.learning.policies.algorithm import sampler_of
from metarl_robot.learning.policies.checkpoint import PolicyCheckpoint
from metarl_robot.learning.policies.episodes import Scores
from metarl_robot.learning.policies.family import Family, sizes_of
from metarl_robot.learning.policies.gaussian import Parameters, for_tasks
from metarl_robot.learning.policies.rl2 import scores_by_episode
from metarl_robot.learning.policies.sampling import Sampler
from metarl_robot.learning.policies.threads import limited_threads

HELD_OUT, TUNING = 2, 3
"""Streams of random numbers; training has stream 1."""
_GRID = (0.01, 0.03, 0.1, 0.2, 0.5, 1.0, 2.0)
_TUNING_STEPS = 3
_TUNING_TASKS = 20


def scores_by_step(
    sampler: Sampler,
    parameters: Parameters,
    rate: float,
    steps: int,
    tasks: int,
    episodes: int,
    rng: np.random.Generator,
    progress: Callable[[int, int], None] | None = None,
) -> Scores:
    """Scores of episodes before adaptation and after 1 … `steps` gradient steps (steps + 1, tasks, episodes).

    A recurrent policy adapts by its state: after 1 … `steps` episodes.

    Arguments:
        rate: of the first gradient step.
        episodes: of each task, for each step.
        progress: called with (gradient steps evaluated, total).
    """
    if sampler.config.algo in RECURRENT:
        return scores_by_episode(sampler, parameters, steps + 1, tasks, episodes, rng)
    drawn = sampler.draw_tasks(rng, tasks)
    own = for_tasks(parameters, tasks)
    found = []
    for step in range(steps + 1):
        batch, score = sampler.batch(drawn, episodes, own, rng)
        found.append(score)
        if step < steps:
            own = adapt(sampler.policy, own, batch, rate_of(step, rate))
        if progress is not None:
            progress(step + 1, steps + 1)
    returns, successes = zip(*found, strict=True)
    return Scores(np.array(returns), None if successes[0] is None else np.array(successes))


def summary(scores: Scores, steps: Sequence[int]) -> dict[str, dict[str, float]]:
    """Mean over tasks and half-width of its 95 % interval, for each of `steps`; after step 0 also of the gain since it.

    Arguments:
        scores: (steps, tasks, episodes); with successes, their share [%] and its interval are given, too.
    """
    found = {}
    for step in steps:
        found[str(step)] = _mean("return", scores.returns[step])
        if step > 0:
            found[str(step)] |= _mean("gain", scores.returns[step] - scores.returns[0])
        if scores.successes is not None:
            found[str(step)] |= _mean("success_percent", 100.0 * scores.successes[step])
    return found


def _mean(name: str, values: NDArray[np.float64]) -> dict[str, float]:
    """Mean of values (tasks, episodes) and half-width of its interval over tasks."""
    of_tasks = values.mean(-1)
    width = float(stdtrit(len(of_tasks) - 1, 0.975)) / np.sqrt(len(of_tasks))
    return {f"{name}_mean": float(of_tasks.mean()), f"{name}_ci95": float(width * of_tasks.std(ddof=1))}


def best_rate(sampler: Sampler, parameters: Parameters, seed: int) -> float:
    """The step size of a grid with the highest mean return after 1 to 3 steps, on tasks that are not held out."""
    scores = [
        scores_by_step(
            sampler,
            parameters,
            rate,
            _TUNING_STEPS,
            _TUNING_TASKS,
            sampler.config.episodes,
            np.random.default_rng([TUNING, seed]),
        )
        .returns[1:]
        .mean()
        for rate in _GRID
    ]
    return _GRID[int(np.argmax(scores))]


def evaluate_checkpoint(
    family: Family,
    checkpoint: PolicyCheckpoint,
    steps: Sequence[int],
    tasks: int,
    episodes: int,
    seed: int,
    rate: float | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Evaluate a policy on held-out tasks; returns the `steps` of `metarl eval-policy --json`.

    Arguments:
        rate: of the first gradient step; None: the checkpoint's.

    Raises:
        MetaRLError: the family's spaces have other sizes than the policy.
    """
    record = checkpoint.record
    sizes = sizes_of(family)
    for which, found, trained in zip(sizes._fields, sizes, (record.observations, record.actions), strict=True):
        if found != trained:
            raise MetaRLError(f"task family '{family.name}' has {found} {which}; the policy was trained with {trained}")
    sampler = replace(sampler_of(family, record.config), held_out=True)
    parameters = [torch.from_numpy(checkpoint.tensors[name]) for name in sampler.policy.shapes]
    rng = np.random.default_rng([HELD_OUT, seed])
    with limited_threads(record.config.threads):
        first = record.inner_rate if rate is None else rate
        scores = scores_by_step(sampler, parameters, first, max(steps), tasks, episodes, rng, progress)
    return summary(scores, steps)
