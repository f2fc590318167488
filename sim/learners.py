# SPDX-License-Identifier: Apache-2.0
"""Learners: functions that train the weights of an adapter on simulated tasks.

An adapter names its learner (metarl_robot.adaptation.adapter_spec.AdapterSpec.learner).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.robot import Robot
from metarl_robot.learning.models.config import TrainConfig
from metarl_robot.learning.models.last_layer import LastLayerLearner
from metarl_robot.learning.models.maml import METHODS, MamlLearner
from metarl_robot.learning.models.train import Fit, Learner, Progress, fit
from metarl_robot.sim.dataset import DataSet
from metarl_robot.sim.kinds import simulation

Array = NDArray[np.float64]

HORIZON_S = 0.5


@dataclass(frozen=True)
class TrainingLoop:
    """Where learners keep their states, whether to resume, the progress callback, and the device of torch."""

    out: Path
    resume: bool
    progress: Progress | None
    device: Any = "cpu"

    def fit(self, name: str, learner: Learner, config: TrainConfig, data: DataSet) -> Fit:
        return fit(learner, config, self.out / f"{name}.state", data.sha256(), self.resume, self.progress, name)

    def score(self, adapter: str, done: int, total: int) -> None:
        self.note(f"score {adapter}")(done, total)

    def note(self, phase: str) -> Callable[[int, int], None]:
        return lambda done, total: None if self.progress is None else self.progress(phase, done, total, {})


class Trained(NamedTuple):
    """Result of a learner.

    tensors: of the checkpoint. facts: entries of its record. fits: its training runs by name.
    """

    tensors: dict[str, Array]
    facts: dict[str, Any]
    fits: dict[str, Fit]


def train_last_layer(robot: Robot, config: TrainConfig, data: DataSet, loop: TrainingLoop) -> Trained:
    """Train the Bayesian last layer, its features and its prior."""
    builder = simulation(robot).training_data_builder()
    groups: tuple[str, ...] = builder.groups if "all" in config.groups else config.groups
    learner = LastLayerLearner(
        builder.training_data(data, groups), builder.velocity_scale, builder.force_scale / builder.unit, config
    )
    learner.module.to(loop.device)
    done = loop.fit("learn", learner, config, data)
    tensors, names = learner.export()
    features = [*groups, *(["learned"] if config.learned else [])]
    return Trained(tensors, {"features": features, "context_names": list(names)}, {"last_layer": done})


def train_maml(robot: Robot, config: TrainConfig, data: DataSet, loop: TrainingLoop) -> Trained:
    """Train second-order MAML, and in the same file its baselines for the tables: first-order and supervised."""
    series, output_scale = simulation(robot).training_data_builder().residual_series(data, loop.note("observe"))
    tensors = {"output_scale": output_scale}
    fits: dict[str, Fit] = {}
    for method in METHODS:
        learner = MamlLearner(series, round(HORIZON_S / robot.control_period_s), config, method)
        fits[method] = loop.fit(method, learner, config, data)
        if method == "supervised":
            learner.choose_step()
        prefix = "" if method == "second_order" else f"{method}."
        tensors |= {prefix + name: tensor for name, tensor in learner.module.export().items()}
    return Trained(tensors, {"inner_steps": config.inner_steps, "methods": list(METHODS)}, fits)
