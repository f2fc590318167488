# SPDX-License-Identifier: Apache-2.0
"""Training by the GrBAL protocol; can be stopped at any moment and resumed with the same result.

A round collects episodes on tasks of training, half with the adapting meta-trained model and half with the plainly
trained one, and trains both networks on all episodes so far. The first episodes have random actions. Each round draws
from its own seed. Files in the output folder, named after the environment:

    <environment>.jsonl         learning curve, one line for each round
    <environment>.state         after every round; removed at the end
    <environment>.safetensors   with <environment>.json: the checkpoint
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from metarl_robot.core.atomic import file_name
from metarl_robot.core.errors import MetaRLError
from metarl_robot.core.folder_lock import locked_folder
from metarl_robot.learning.grbal.checkpoint import GrbalCheckpoint, save_grbal
from metarl_robot.learning.grbal.config import GrbalConfig
from metarl_robot.learning.grbal.environment import AdaptationFamily
from metarl_robot.learning.grbal.episodes import Agent, Episodes, PlanningAgent, RandomAgent, Tasks, run_episodes
from metarl_robot.learning.grbal.models import DynamicsNetworks
from metarl_robot.learning.grbal.windows import Transitions, draw_windows
from metarl_robot.learning.policies.family import sizes_of
from metarl_robot.learning.policies.threads import limited_threads
from metarl_robot.learning.provenance import recorded_command, versions
from metarl_robot.learning.run_files import RunFiles, Tensors

Metrics = dict[str, float]
Progress = Callable[[int, int, Metrics], None]
"""Callback with (rounds done, total, metrics)."""

_TRAINING = 1
_FIRST, _PLAN, _BATCH, _TUNE = range(4)
_TUNING_WINDOWS = 300
_LIBRARIES = ("metarl_robot", "numpy", "torch", "gymnasium", "mujoco", "safetensors")


@dataclass(frozen=True)
class GrbalReport:
    """Result of a run. curve: file of the learning curve."""

    path: Path
    checkpoint: GrbalCheckpoint
    curve: Path


def train(
    family: AdaptationFamily, config: GrbalConfig, out: Path, resume: bool = False, progress: Progress | None = None
) -> GrbalReport:
    """Train both models in an environment and write them to the folder `out`.

    Arguments:
        resume: continue an interrupted run in `out`, with the same result as without the interruption.
        progress: called after each round, when its state is on the disk.

    Raises:
        MetaRLError: windows longer than an episode, another training writes to `out`, an interrupted one left its
            state there and is not to be resumed, it had other settings, or a number was not finite.
    """
    longest = family.horizon
    if config.memory + config.predicted > longest:
        raise MetaRLError(
            f"--memory {config.memory} and --predicted {config.predicted}: together at most {longest}, the length of "
            f"an episode of '{family.name}'"
        )
    out.mkdir(parents=True, exist_ok=True)
    with locked_folder(out, "wait for its end, or choose another --out"), limited_threads(config.threads):
        run = _Run(family, config, out, resume)
        run.go_on(progress)
        return run.finish()


class _Run:
    """Networks, data, the rounds done, and the files of a run."""

    def __init__(self, family: AdaptationFamily, config: GrbalConfig, out: Path, resume: bool) -> None:
        self._family, self._config = family, config
        settings = f"{family.name} {config.model_dump_json()}"
        self._files = RunFiles(out, file_name("environment", family.name), settings)
        self._sizes = sizes_of(family)
        self._networks = DynamicsNetworks(*self._sizes, config)
        self._data: Transitions | None = None
        self._round, self._seconds = 0, 0.0
        self._files.begin(resume, self._restore)

    def go_on(self, progress: Progress | None) -> None:
        """Run the remaining rounds."""
        self._files.cut_curve(self._round)
        while self._round < self._config.iterations:
            start = monotonic()
            metrics = self._iterate()
            self._round += 1
            self._seconds += monotonic() - start
            self._save(metrics)
            if progress is not None:
                progress(self._round, self._config.iterations, metrics)

    def _iterate(self) -> Metrics:
        """Collect and train once; returns the metrics of the learning curve."""
        data, metrics = self._collected()
        self._data, scaling, config = data, data.scaling(), self._config

        def batch(k: int) -> Any:
            rng = self._random(_BATCH, k)
            return draw_windows(data, scaling, config.memory, config.predicted, config.batch, rng)

        last = self._round == config.iterations - 1
        return {"transitions": float(data.count), **metrics, **self._networks.train(batch, falling=last)}

    def _random(self, stream: int, *further: int) -> np.random.Generator:
        return np.random.default_rng([_TRAINING, self._config.seed, self._round, stream, *further])

    def _collected(self) -> tuple[Transitions, Metrics]:
        """All data after this round's episodes, and their mean returns."""
        config = self._config
        if self._data is None:
            rng = self._random(_FIRST)
            agents = [RandomAgent(self._sizes.actions, int(rng.integers(2**31))) for _ in range(config.first_episodes)]
            return Transitions.of(self._run(agents, rng)), {}
        rng = self._random(_PLAN)
        scaling, half = self._data.scaling(), config.episodes // 2
        models = [self._networks.trained("meta", scaling), self._networks.trained("plain", scaling, adapts=False)]
        planned = [
            PlanningAgent(
                self._family,
                models[i >= config.episodes - half],
                config.memory,
                config.planning,
                self._sizes.actions,
                int(rng.integers(2**31)),
            )
            for i in range(config.episodes)
        ]
        found = self._run(planned, rng)
        means = {"return_meta": found.returns[: config.episodes - half], "return_plain": found.returns[-half:]}
        return self._data.with_more(Transitions.of(found)), {name: float(r.mean()) for name, r in means.items()}

    def _run(self, agents: Sequence[Agent], rng: np.random.Generator) -> Episodes:
        tasks = [self._family.training_task(rng) for _ in agents]
        return run_episodes(self._family, Tasks(tasks, tasks), agents, int(rng.integers(2**31)))

    def _save(self, metrics: Metrics) -> None:
        assert self._data is not None
        tensors = dict(self._networks.state())
        tensors["data.observations"] = torch.from_numpy(self._data.observations)
        tensors["data.actions"] = torch.from_numpy(self._data.actions)
        self._files.save(self._round, metrics, tensors, {"round": self._round, "seconds": self._seconds})

    def _restore(self, tensors: Tensors, facts: dict[str, Any]) -> None:
        self._round, self._seconds = int(facts["round"]), float(facts["seconds"])
        data = (tensors.pop(f"data.{name}").numpy() for name in ("observations", "actions"))
        self._data = Transitions(*data)
        self._networks.restore(tensors)

    def finish(self) -> GrbalReport:
        """Tune the fine-tuning, write the checkpoint and remove the state."""
        assert self._data is not None
        config, data, scaling = self._config, self._data, self._data.scaling()
        rng = self._random(_TUNE)
        windows = draw_windows(data, scaling, config.memory, config.predicted, _TUNING_WINDOWS, rng)
        rate, steps = self._networks.tune_plain(windows)
        scales = {"mean": scaling.mean, "std": scaling.std, "change": scaling.change}
        tensors: dict[str, NDArray[Any]] = {**self._networks.export(), **scales}
        record = {
            "environment": self._family.name,
            **self._sizes._asdict(),
            "fine_tuning_rate": rate,
            "fine_tuning_steps": steps,
            "transitions": data.count,
            "simulated_hours": data.count * self._family.step_s / 3600.0,
            "config": config.model_dump(mode="json"),
            "seed": config.seed,
            "command": command(self._family, config),
            "data_sha256": data.sha256(),
            "curve_sha256": self._files.curve_sha256(),
            "train_seconds": round(self._seconds, 1),
            "versions": versions(_LIBRARIES),
        }
        checkpoint = save_grbal(self._files.checkpoint, tensors, record)
        self._files.finish()
        return GrbalReport(self._files.checkpoint, checkpoint, self._files.curve)


def command(family: AdaptationFamily, config: GrbalConfig) -> str:
    """The command line that repeats a training run."""
    return recorded_command(f"metarl train-grbal {family.name}", config)
