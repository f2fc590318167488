# SPDX-License-Identifier: Apache-2.0
"""Prediction error and return of the models of a checkpoint, on tasks that training has not drawn and on changes.

A seed gives two episodes, the same for every model:

    unseen    a task of the held-out set
    switch    a training task, and from the middle on another one

K-step error: after M transitions a model predicts the next K states without correction, from the actions that were
taken; the error is the RMS over steps and components, in standard deviations of the observations. One-step error: the
same transitions, each from the true state, in standard deviations of a step's changes. All models predict the episodes
of all models. Intervals hold for the mean over seeds (Student's t).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from metarl_robot.control.adaptive_model import AdaptiveModel, Trained
from metarl_robot.control.model_planner import Planning
from metarl_robot.core.errors import MetaRLError
from metarl_robot.learning.grbal.checkpoint import MODELS, GrbalCheckpoint
from metarl_robot.learning.grbal.environment import AdaptationFamily
from metarl_robot.learning.grbal.episodes import Episodes, PlanningAgent, Tasks, run_episodes
from metarl_robot.learning.policies.family import sizes_of
from metarl_robot.learning.policies.threads import limited_threads

Array = NDArray[np.float64]
Progress = Callable[[int, int, str], None]
"""Callback with (seeds done, total, note)."""

HELD_OUT = 2
"""Stream of random numbers; training has stream 1."""
KINDS = ("unseen", "switch")
RIVALS = ("unadapted", "plain", "fine_tuned")


class Errors(NamedTuple):
    """Prediction errors of a model in an episode."""

    k_step: float
    one_step: float


def evaluate(
    family: AdaptationFamily,
    checkpoint: GrbalCheckpoint,
    seeds: Sequence[int],
    planning: Planning | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Scores of all models, as `metarl eval grbal --json` prints them.

    Arguments:
        seeds: at least two.
        planning: default: that of the training.

    Raises:
        MetaRLError: the environment's spaces have other sizes than the model, or a state is not finite.
    """
    record = checkpoint.record
    sizes = sizes_of(family)
    for which, found, trained in zip(sizes._fields, sizes, (record.observations, record.actions), strict=True):
        if found != trained:
            raise MetaRLError(f"environment '{family.name}' has {found} {which}; the model was trained with {trained}")
    planning = planning or record.config.planning
    models = {name: checkpoint.trained(name) for name in MODELS}
    rows = []
    with limited_threads(record.config.threads):
        for seed in seeds:
            rows.append(_seed(family, models, record, planning, seed))
            if progress is not None:
                returns = "  ".join(f"{name} {rows[-1][name]['return']:.1f}" for name in MODELS)
                progress(len(rows), len(seeds), returns)
    return {
        "environment": family.name,
        "planner": planning.method,
        "seeds": list(seeds),
        "transitions": record.transitions,
        "simulated_hours": record.simulated_hours,
        "memory": record.config.memory,
        "predicted": record.config.predicted,
        **summary(rows),
    }


def _seed(
    family: AdaptationFamily, models: Mapping[str, Trained], record: Any, planning: Planning, seed: int
) -> dict[str, dict[str, float]]:
    """Scores of every model for one seed."""
    rng = np.random.default_rng([HELD_OUT, seed])
    unseen, first, later = family.held_out_task(rng), family.training_task(rng), family.training_task(rng)
    tasks, start = Tasks([unseen, first], [unseen, later]), int(rng.integers(2**31))
    plans = rng.integers(2**31, size=2).tolist()
    memory, predicted = record.config.memory, record.config.predicted
    episodes = {
        name: run_episodes(
            family,
            tasks,
            [PlanningAgent(family, trained, memory, planning, record.actions, plan) for plan in plans],
            start,
        )
        for name, trained in models.items()
    }
    scores = {}
    for name, trained in models.items():
        found = [error for own in episodes.values() for error in errors_of(trained, own, memory, predicted)]
        k_step, one_step = np.mean(found, axis=0)
        returns = episodes[name].returns
        scores[name] = {
            "return": float(returns.mean()),
            "k_step_error": float(k_step),
            "one_step_error": float(one_step),
        }
        scores[name] |= {f"return_{kind}": float(value) for kind, value in zip(KINDS, returns, strict=True)}
    return scores


def errors_of(trained: Trained, episodes: Episodes, memory: int, predicted: int) -> list[Errors]:
    """Mean errors of each episode over its windows, which follow one another every K steps."""
    return [
        Errors(*np.mean(list(_windows(trained, states, actions, memory, predicted)), axis=0))
        for states, actions in zip(episodes.observations, episodes.actions, strict=True)
    ]


def _windows(trained: Trained, states: Array, actions: Array, memory: int, predicted: int) -> Iterator[Errors]:
    model, scaling = AdaptiveModel(trained, memory), trained.scaling
    for k in range(memory, len(actions) - predicted + 1, predicted):
        model.reset()
        for j in range(k - memory, k):
            model.observe(states[j], actions[j], states[j + 1])
        span, true = slice(k, k + predicted), states[k + 1 : k + predicted + 1]
        far = [states[k : k + 1]]
        for action in actions[span]:
            far.append(model.advance(far[-1], action[None]))
        one = model.advance(states[span], actions[span])
        yield Errors(_rms((np.concatenate(far[1:]) - true) / scaling.std), _rms((one - true) / scaling.change))


def _rms(values: Array) -> float:
    return float(np.sqrt(np.square(values).mean()))


def summary(rows: Sequence[Mapping[str, Mapping[str, float]]]) -> dict[str, Any]:
    """Means over seeds of each model's scores, and of the adapted model's differences to its rivals, with intervals."""
    models = {
        name: {
            key: value
            for score in rows[0][name]
            for key, value in mean_of(score, np.array([row[name][score] for row in rows])).items()
        }
        for name in MODELS
    }
    gains = {
        rival: {
            key: value
            for score in ("return", "k_step_error", "one_step_error")
            for key, value in mean_of(
                score, np.array([row["adapted"][score] - row[rival][score] for row in rows])
            ).items()
        }
        for rival in RIVALS
    }
    return {"models": models, "adapted_minus": gains}


def mean_of(name: str, values: Array) -> dict[str, float]:
    """Mean and half-width of its 95 % interval."""
    width = float(student.ppf(0.975, len(values) - 1)) / np.sqrt(len(values))
    return {f"{name}_mean": float(values.mean()), f"{name}_ci95": float(width * values.std(ddof=1))}
