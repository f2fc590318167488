# SPDX-License-Identifier: Apache-2.0
"""Training from end to end: simulate tasks, meta-train, score on held-out tasks, write the checkpoint."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.adapter_spec import ADAPTERS, trained_adapters
from metarl_robot.core.checkpoint import Checkpoint, default_checkpoint, save_checkpoint
from metarl_robot.core.errors import MetaRLError, UnknownNameError
from metarl_robot.core.folder_lock import locked_folder
from metarl_robot.core.robot import Robot, named
from metarl_robot.learning.device import chosen_device
from metarl_robot.learning.models.config import TrainConfig
from metarl_robot.learning.models.train import Fit, Progress
from metarl_robot.parallel.engine import Engine
from metarl_robot.sim.dataset import DataSet, collect
from metarl_robot.sim.kinds import simulation
from metarl_robot.sim.learners import Trained, TrainingLoop
from metarl_robot.sim.scoring import prediction_scores

Array = NDArray[np.float64]

_CURVE_POINTS = 50
_MAML_TASKS = 1000
_LIBRARIES = ("metarl_robot", "numpy", "mujoco", "casadi", "torch", "safetensors")


@dataclass(frozen=True)
class TrainReport:
    """The result of a training run. seconds: time spent in gradient steps."""

    path: Path
    checkpoint: Checkpoint
    fits: dict[str, Fit]
    seconds: float


def train(
    robot: Robot,
    config: TrainConfig,
    out: Path,
    resume: bool = False,
    progress: Progress | None = None,
    score_tasks: int = 200,
    engine: Engine | None = None,
    device: str = "cpu",
) -> TrainReport:
    """Train weights for a robot and write them to `out`.

    Files: dynamics.safetensors (MAML: dynamics_maml.safetensors) and its .json.

    Arguments:
        out: folder; also holds the data and the state of the run until its end.
        resume: continue an interrupted run in `out`, with the same result as without the interruption.
        progress: called with (phase, done, total, numbers to show).
        score_tasks: number of held-out tasks for scoring.
        engine: simulates the tasks; default: this process. The result is the same.
        device: auto, cpu or cuda, of the last layer; MAML's gradient is computed on the CPU. The result differs by
            rounding.

    Raises:
        UnknownNameError: no such device.
        MetaRLError: the device is not there or of no use, another training writes to `out`, an interrupted one left its
            state there and is not to be resumed, nothing to resume fits these settings, or the training diverged.
    """
    _check(robot, config)
    processor = chosen_device(device)
    if device == "cuda" and config.adapter == "maml":
        raise MetaRLError("--device cuda has no effect with --adapter maml: numpy computes its gradient; leave one out")
    out.mkdir(parents=True, exist_ok=True)
    with locked_folder(out, "wait for its end, or choose another --out"):
        if not resume and any(out.glob("*.state")):
            raise MetaRLError(
                f"{out} holds an interrupted run: continue with --resume, choose another --out, or remove it"
            )
        return _train(robot, config, TrainingLoop(out, resume, progress, processor), score_tasks, engine)


def _train(
    robot: Robot, config: TrainConfig, loop: TrainingLoop, score_tasks: int, engine: Engine | None
) -> TrainReport:
    data, out = _data(robot, config, loop, engine), loop.out
    learn = named(ADAPTERS.get(robot.kind, config.adapter).learner)
    made: Trained = learn(robot, config, data, loop)
    record = {
        **made.facts,
        "config": config.model_dump(mode="json"),
        "seed": config.seed,
        "data_sha256": data.sha256(),
        "command": command(robot, config),
        "device": "cpu" if config.adapter == "maml" else str(loop.device),
        "train_seconds": round(sum(run.seconds for run in made.fits.values()), 1),
        "loss_curve": {name: _thinned(run.curve) for name, run in made.fits.items()},
        "versions": {**{name: version(name) for name in _LIBRARIES}, "python": platform.python_version()},
    }
    path = out / default_checkpoint(robot, config.adapter).name
    scores = prediction_scores(
        robot, [Checkpoint(made.tensors, {**record, "adapter": config.adapter})], score_tasks, progress=loop.score
    )
    checkpoint = save_checkpoint(
        path, robot, config.adapter, made.tensors, {**record, "scores": {"prediction": scores}}
    )
    for pattern in ("training_data.*", "*.state", "*.state.*.part", f"{path.stem}.*.part"):
        for leftover in out.glob(pattern):
            leftover.unlink(missing_ok=True)
    return TrainReport(path, checkpoint, made.fits, record["train_seconds"])


def _check(robot: Robot, config: TrainConfig) -> None:
    """Raise MetaRLError if an adapter or feature group is not trained for this kind of robot."""
    trained = trained_adapters(robot.kind)
    if config.adapter not in trained:
        raise MetaRLError(
            f"adapter '{config.adapter}' is not trained for '{robot.name}' of kind {robot.kind}; "
            f"allowed: {', '.join(trained)}"
        )
    if "all" in config.groups:
        return
    groups = simulation(robot).training_data_builder().groups
    for group in config.groups:
        if group not in groups:
            raise UnknownNameError("feature group", group, ("all", *groups), f"--groups, kind {robot.kind}")


def command(robot: Robot, config: TrainConfig) -> str:
    """The command line that repeats a training run."""
    options = [
        f"--{name.replace('_', '-')} {_text(value)}" for name, value in config.model_dump(exclude_defaults=True).items()
    ]
    return " ".join(["metarl train", robot.name, *options])


def _text(value: Any) -> str:
    return (
        ",".join(map(str, value))
        if isinstance(value, tuple)
        else str(value).lower()
        if isinstance(value, bool)
        else str(value)
    )


def _tasks(config: TrainConfig) -> int:
    """Number of tasks; MAML needs fewer, and its residuals are measured at the pace of the online observer."""
    return min(config.tasks, _MAML_TASKS) if config.adapter == "maml" else config.tasks


def _data_file(out: Path, robot: Robot, config: TrainConfig) -> Path:
    """The file of a run's data; its name depends on the settings of the simulation."""
    settings = [robot.name, _tasks(config), config.seed, config.duration_s]
    return out / f"training_data.{hashlib.sha256(repr(settings).encode()).hexdigest()[:12]}.npz"


def simulate(
    robot: Robot,
    config: TrainConfig,
    progress: Callable[[int, int], None] | None = None,
    engine: Engine | None = None,
) -> DataSet:
    """Simulate the tasks of a training run."""
    ranges, tasks = simulation(robot).training_data_builder().ranges, _tasks(config)
    return collect(robot, tasks, config.seed, "train", config.duration_s, ranges, config.threads, progress, engine)


def _data(robot: Robot, config: TrainConfig, loop: TrainingLoop, engine: Engine | None) -> DataSet:
    """Simulated tasks; kept in a file so that a resumed run need not simulate them again."""
    file = _data_file(loop.out, robot, config)
    if loop.resume and file.is_file():
        return DataSet.load(file)
    if loop.resume and any(loop.out.glob("training_data.*.npz")):
        raise MetaRLError(f"{loop.out}: the interrupted run had other settings; use the same, or another --out")
    data = simulate(robot, config, loop.note("simulate"), engine)
    data.save(file)
    return data


def _thinned(curve: list[tuple[int, float]]) -> list[list[float]]:
    every = max(1, len(curve) // _CURVE_POINTS)
    return [[step, round(loss, 5)] for step, loss in curve[::-every][::-1]]
