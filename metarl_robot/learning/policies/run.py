# SPDX-License-Identifier: Apache-2.0
"""Training of a policy from end to end; can be stopped at any moment and resumed with the same result.

Each iteration draws from its own seed, so that a run's state is its iteration and what the algorithm changes. Files in
the output folder, named after the algorithm:

    <algo>.jsonl         learning curve, one line for each iteration
    <algo>.tensorboard   folder: the same for TensorBoard, where that is installed
    <algo>.state         after every iteration; removed at the end
    <algo>.safetensors   with <algo>.json: the checkpoint, at the end, or where training had to stop
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np

from metarl_robot.core.errors import MetaRLError, one_line
from metarl_robot.core.folder_lock import locked_folder
from metarl_robot.learning.device import chosen_device
from metarl_robot.learning.policies.algorithm import Metrics, check_algorithm, make_algorithm, sampler_of
from metarl_robot.learning.policies.checkpoint import PolicyCheckpoint, save_policy
from metarl_robot.learning.policies.config import PolicyConfig
from metarl_robot.learning.policies.evaluate import HELD_OUT, best_rate, scores_by_step, summary
from metarl_robot.learning.policies.event_file import event_file
from metarl_robot.learning.policies.family import Family, sizes_of
from metarl_robot.learning.policies.sampling import NotFiniteError, Sampler
from metarl_robot.learning.policies.threads import limited_threads
from metarl_robot.learning.provenance import recorded_command, versions
from metarl_robot.learning.run_files import RunFiles, Tensors
from metarl_robot.parallel.engine import Engine

Progress = Callable[[int, int, Metrics], None]
"""Callback with (iterations done, total, metrics)."""

SCORE_STEPS = (0, 1, 2, 3)
_TRAINING = 1
_LIBRARIES = ("metarl_robot", "numpy", "torch", "gymnasium", "safetensors")


@dataclass(frozen=True)
class PolicyReport:
    """Result of a run. curve: file of the learning curve."""

    path: Path
    checkpoint: PolicyCheckpoint
    curve: Path


def train(
    family: Family,
    config: PolicyConfig,
    out: Path,
    resume: bool = False,
    progress: Progress | None = None,
    engine: Engine | None = None,
    device: str = "cpu",
) -> PolicyReport:
    """Train a policy on a family and write it to the folder `out`.

    Arguments:
        resume: continue an interrupted run in `out`, with the same result as without the interruption.
        progress: called after each iteration, when its state is on the disk.
        engine: runs groups of tasks; default: this process. The result is the same.
        device: auto, cpu or cuda. Groups of tasks run on CPUs. The result differs by rounding.

    Raises:
        UnknownNameError: no such algorithm or device.
        MissingPackageError: RLlib is the engine and is not installed.
        MetaRLError: the device is not there, or not for groups of tasks; another training writes to `out`, an
            interrupted one left its state there and is not to be resumed, it had other settings, or a return was not
            finite; then the weights of the last iteration are kept.
    """
    check_algorithm(config)
    sampler = replace(sampler_of(family, config), device=_device(device, config))
    if engine is not None:
        sampler = replace(sampler, engine=engine)
    out.mkdir(parents=True, exist_ok=True)
    lock = locked_folder(out, "wait for its end, or choose another --out")
    with lock, limited_threads(config.threads):
        run = _Run(sampler, out, resume)
        run.go_on(progress)
        return run.finish()


def _device(name: str, config: PolicyConfig) -> Any:
    """The device for a run. Raises UnknownNameError, MetaRLError."""
    chosen = chosen_device(name)
    if config.groups == 1 and config.engine == "own":
        return chosen
    if name == "cuda":
        blocker = f"--groups {config.groups}: groups run" if config.engine == "own" else "--engine rllib: RLlib runs"
        raise MetaRLError(f"--device cuda with {blocker} on CPUs; leave one of them out")
    return chosen_device("cpu")


class _Run:
    """An algorithm, the iterations it has done, and its files."""

    def __init__(self, sampler: Sampler, out: Path, resume: bool) -> None:
        self._sampler, self._config = sampler, sampler.config
        self._algorithm = make_algorithm(sampler)
        settings = f"{sampler.family.name} {self._config.model_dump_json()}"
        self._files = RunFiles(out, self._config.algo, settings)
        self._iteration, self._seconds = 0, 0.0
        self._files.begin(resume, self._restore)

    def go_on(self, progress: Progress | None) -> None:
        """Run the remaining iterations."""
        self._files.cut_curve(self._iteration)
        with event_file(self._files.curve.with_suffix(".tensorboard"), self._files.curve) as log:
            while self._iteration < self._config.iterations:
                metrics = self._iterate()
                log(self._iteration, metrics)
                if progress is not None:
                    progress(self._iteration, self._config.iterations, metrics)

    def _iterate(self) -> Metrics:
        """Run one iteration and save it."""
        start = monotonic()
        rng = np.random.default_rng([_TRAINING, self._config.seed, self._iteration])
        try:
            metrics = self._algorithm.step(rng)
        except NotFiniteError as error:
            raise NotFiniteError(f"{one_line(error)} in iteration {self._iteration + 1}; {self._keep()}") from error
        self._iteration += 1
        self._seconds += monotonic() - start
        facts = {"iteration": self._iteration, "seconds": self._seconds}
        self._files.save(self._iteration, metrics, self._algorithm.state(), facts)
        return metrics

    def _keep(self) -> str:
        """Write the weights so far as a checkpoint; returns where they are."""
        if self._iteration == 0:
            return "nothing was trained before; check the rewards of the family"
        self._write({})
        return f"the weights after iteration {self._iteration} are kept in {self._files.checkpoint}"

    def _restore(self, tensors: Tensors, facts: dict[str, Any]) -> None:
        self._iteration, self._seconds = int(facts["iteration"]), float(facts["seconds"])
        self._algorithm.restore(tensors)

    def finish(self) -> PolicyReport:
        """Score the weights, write the checkpoint and remove the state."""
        rate = self._config.inner_rate
        if self._algorithm.tunes_rate:
            rate = best_rate(self._sampler, self._algorithm.parameters, self._config.seed)
        scores = scores_by_step(
            replace(self._sampler, held_out=True),
            self._algorithm.parameters,
            rate,
            max(SCORE_STEPS),
            *self._sampler.family.scored,
            np.random.default_rng([HELD_OUT, 0]),
        )
        checkpoint = self._write({"scores": {"steps": summary(scores, SCORE_STEPS)}}, rate)
        self._files.finish()
        return PolicyReport(self._files.checkpoint, checkpoint, self._files.curve)

    def _write(self, facts: dict[str, Any], rate: float | None = None) -> PolicyCheckpoint:
        policy = self._sampler.policy
        tensors = {
            name: parameter.detach().cpu().numpy()
            for name, parameter in zip(policy.shapes, self._algorithm.parameters, strict=True)
        }
        sizes = sizes_of(self._sampler.family)
        record = {
            "family": self._sampler.family.name,
            "algo": self._config.algo,
            "observations": sizes.observations,
            "actions": sizes.actions,
            "inner_rate": self._config.inner_rate if rate is None else rate,
            "iterations": self._iteration,
            "config": self._config.model_dump(mode="json"),
            "seed": self._config.seed,
            "command": command(self._sampler.family, self._config),
            "curve_sha256": self._files.curve_sha256(),
            **self._sampler.family.facts,
            "device": self._sampler.device.type,
            "train_seconds": round(self._seconds, 1),
            "versions": versions(_LIBRARIES),
            **facts,
        }
        return save_policy(self._files.checkpoint, tensors, record)


def command(family: Family, config: PolicyConfig) -> str:
    """The command line that repeats a training run."""
    return recorded_command(f"metarl train-policy {family.argument}", config)
