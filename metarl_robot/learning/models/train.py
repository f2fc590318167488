# SPDX-License-Identifier: Apache-2.0
"""Training loop that can be interrupted anywhere and resumed without changing the result.

Each step draws its batch from its own seed, and the learning rate is a function of the step. The state of a run is
therefore its weights, Adam's moments and the step number. It is saved every few seconds and on interruption.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any, Protocol

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from metarl_robot.core.atomic import replace_file
from metarl_robot.core.errors import MetaRLError
from metarl_robot.learning.models.config import TrainConfig

Metrics = dict[str, float]
Progress = Callable[[str, int, int, Metrics], None]
"""Callback with (phase, steps done, total steps, metrics)."""

_SAVE_EVERY_S = 5.0
_CURVE_POINTS = 200
_MAX_GRADIENT = 10.0


class Learner(Protocol):
    """A trainable model with its data.

    in_numpy: numpy's products compute the gradient, not torch's.
    """

    in_numpy: bool

    @property
    def module(self) -> nn.Module:
        """The module that holds the parameters."""
        ...

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Adam's parameter groups; `lr` is a multiple of the configured learning rate."""
        ...

    def loss(self, step: int) -> tuple[Tensor, Metrics]:
        """Loss of this step's batch, and metrics to display."""
        ...


@dataclass(frozen=True)
class Fit:
    """Result of a finished run.

    curve: pairs (step, mean loss since the last point). seconds: time in gradient steps, without interruptions.
    """

    curve: list[tuple[int, float]]
    seconds: float


def fit(
    learner: Learner,
    config: TrainConfig,
    state: Path,
    identity: str,
    resume: bool = False,
    progress: Progress | None = None,
    phase: str = "learn",
) -> Fit:
    """Train to the end, or continue an interrupted run.

    Arguments:
        learner: the model to train; holds the result.
        state: file of the run's state.
        identity: hash of the training data; resuming with other data or another configuration is refused.
        resume: continue from `state` if it exists.
        progress: called after every step with `phase`.

    Raises:
        MetaRLError: the state belongs to another run or is damaged, or the loss is not finite.
    """
    torch.set_flush_denormal(True)
    # Two thread pools would compete for the same processors.
    torch.set_num_threads(1 if learner.in_numpy else config.threads)
    run = _Run(learner, config, state, _fingerprint(config, identity))
    if resume and state.is_file():
        run.load()
    last_save = monotonic()
    try:
        with threadpool_limits(config.threads, "blas"):
            for metrics in run.go_on():
                if progress is not None:
                    progress(phase, run.step, config.steps, metrics)
                if monotonic() - last_save > _SAVE_EVERY_S:
                    run.save()
                    last_save = monotonic()
    finally:
        if run.whole:
            run.save()
    return Fit(run.curve, run.seconds)


def _fingerprint(config: TrainConfig, identity: str) -> str:
    return hashlib.sha256(f"{config.model_dump_json()}{identity}".encode()).hexdigest()


class _Run:
    """Weights, optimiser, step and loss curve of a run.

    whole: these are consistent. False during an optimiser's step, which Ctrl-C can interrupt.
    """

    def __init__(self, learner: Learner, config: TrainConfig, path: Path, fingerprint: str) -> None:
        self._learner, self._config, self._path, self._fingerprint = learner, config, path, fingerprint
        self._groups = learner.parameter_groups()
        self._factors = [group.pop("lr", 1.0) for group in self._groups]
        self._optimiser = torch.optim.Adam(self._groups, lr=config.learning_rate, fused=True)
        self._names = [name for name, parameter in learner.module.named_parameters() if parameter.requires_grad]
        self.whole = True
        self.step = 0
        self.curve: list[tuple[int, float]] = []
        self.seconds = 0.0
        self._sum, self._count = 0.0, 0

    def go_on(self) -> Iterator[Metrics]:
        """Run the remaining gradient steps, one per iteration."""
        while self.step < self._config.steps:
            start = monotonic()
            rate = self._config.learning_rate * 0.5 * (1.0 + math.cos(math.pi * self.step / self._config.steps))
            for group, factor in zip(self._optimiser.param_groups, self._factors, strict=True):
                group["lr"] = rate * factor
            loss, metrics = self._loss()
            value = float(loss.detach())
            self._optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(self._learner.module.parameters(), _MAX_GRADIENT)
            self.whole = False
            self._optimiser.step()
            self.step += 1
            self._record(value)
            self.whole = True
            self.seconds += monotonic() - start
            yield {"loss": value, **metrics}

    def _loss(self) -> tuple[Tensor, Metrics]:
        try:
            loss, metrics = self._learner.loss(self.step)
            reason = f"the loss is {loss.item()}"
        except torch.linalg.LinAlgError as error:  # type: ignore[attr-defined]
            loss, metrics, reason = torch.tensor(math.nan), {}, str(error)
        if not torch.isfinite(loss):
            raise MetaRLError(
                f"training: {reason} at step {self.step}; try a smaller learning_rate than {self._config.learning_rate}"
            )
        return loss, metrics

    def _record(self, loss: float) -> None:
        self._sum, self._count = self._sum + loss, self._count + 1
        if self.step % max(1, self._config.steps // _CURVE_POINTS) == 0 or self.step == self._config.steps:
            self.curve.append((self.step, self._sum / self._count))
            self._sum, self._count = 0.0, 0

    def save(self) -> None:
        """Write the state atomically."""
        tensors = {f"module.{name}": value for name, value in self._learner.module.state_dict().items()}
        for name, parameter in zip(self._names, self._parameters(), strict=True):
            for key, value in self._optimiser.state.get(parameter, {}).items():
                tensors[f"adam.{key}.{name}"] = value
        facts = {
            "step": self.step,
            "curve": self.curve,
            "seconds": self.seconds,
            "sum": self._sum,
            "count": self._count,
        }
        metadata = {"fingerprint": self._fingerprint, "facts": json.dumps(facts)}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        copies = {name: value.detach().cpu().clone().contiguous() for name, value in tensors.items()}
        replace_file(self._path, to_bytes(copies, metadata))

    def load(self) -> None:
        """Read the state."""
        try:
            with safe_open(self._path, "pt") as file:
                metadata = file.metadata()
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise MetaRLError(f"{self._path}: not the state of a training run: {error}") from error
        if metadata is None or metadata.get("fingerprint") != self._fingerprint:
            raise MetaRLError(
                f"{self._path}: the interrupted run had other settings or data; use the same, or restart without "
                "resuming"
            )
        try:
            self._restore(json.loads(metadata["facts"]), tensors)
        except (KeyError, TypeError, ValueError, RuntimeError, RecursionError) as error:
            reason = " ".join(str(error).split())[:200]
            what = f"{self._path}: damaged: {reason}"
            raise MetaRLError(f"{what}; remove it and restart without resuming") from error

    def _restore(self, facts: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        self.step, self.seconds, self._sum, self._count = (facts[key] for key in ("step", "seconds", "sum", "count"))
        self.curve = [(int(step), float(loss)) for step, loss in facts["curve"]]
        own = {name.removeprefix("module."): value for name, value in tensors.items() if name.startswith("module.")}
        self._learner.module.load_state_dict(own)
        for name, parameter in zip(self._names, self._parameters(), strict=True):
            keys = {
                key: tensors[f"adam.{key}.{name}"].to(parameter.device)
                for key in ("step", "exp_avg", "exp_avg_sq")
                if f"adam.{key}.{name}" in tensors
            }
            for key, value in keys.items():
                if value.shape != (() if key == "step" else parameter.shape):
                    raise ValueError(f"adam.{key}.{name} has the shape {tuple(value.shape)}")
            if keys:
                self._optimiser.state[parameter] = keys

    def _parameters(self) -> list[nn.Parameter]:
        return [parameter for parameter in self._learner.module.parameters() if parameter.requires_grad]
