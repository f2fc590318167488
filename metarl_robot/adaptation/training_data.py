# SPDX-License-Identifier: Apache-2.0
"""Training data: for each task and interval, the residual's impulse ∫Δ dt and candidate features.

Each kind of robot builds them from its rollouts (robots/<kind>/training_data.py). The target is exact and needs no
differentiation (momentum form, momentum_step.py). From noise-free states,

    T_k = M_{k+1} v_{k+1} - M_k v_k - dt (B τ_k + β̄_k) = ∫Δ dt

and T_k / dt is the mean residual Δ of the interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.features import Entry
from metarl_robot.core.errors import MetaRLError

Array = NDArray[np.float64]
Array32 = NDArray[np.float32]

HISTORY = 2
"""Intervals left out at the start of a rollout, where past commands are unknown."""


@dataclass(frozen=True)
class TrainingData:
    """T tasks with S consecutive intervals each.

    target: (T, S, n) ∫Δ dt [Nm s].
    raw: (T, S, n, n_raw) ∫Φ dt of the raw features `entries`.
    mobility: (T, S + 1, n, n) M⁻¹ at the samples that bound the intervals.
    q, v, a, effort: (T, S, n) at mid-interval.
    past_effort: (T, S, 2, n) the two commands before.
    dt: length of an interval [s].
    velocity_noise: (T,) standard deviation of the measured velocity [rad/s].
    encoder_step: (T,) resolution of the measured position [rad].
    contexts: (T, n_raw) true coefficients of `entries`; NaN if there is no true value.
    inputs: (T, S, n_x) of the network; None: sin q, cos q and scaled v of the joints.
    noise: (T, n) noise of velocities equivalent to all sensors together; None: computed from velocity_noise and
        encoder_step.
    """

    target: Array32
    raw: Array32
    mobility: Array32
    q: Array32
    v: Array32
    a: Array32
    effort: Array32
    past_effort: Array32
    dt: float
    velocity_noise: Array
    encoder_step: Array
    contexts: Array
    entries: tuple[Entry, ...]
    inputs: Array32 | None = None
    noise: Array | None = None

    def merged(self, count: int) -> TrainingData:
        """Merge every `count` intervals into one; impulses add up exactly.

        Of the samples between intervals only every `count`-th is kept.
        """
        whole = self.intervals // count

        def parts(x: Array32) -> Array32:
            return x[:, : whole * count].reshape(len(x), whole, count, *x.shape[2:])

        means = {name: parts(getattr(self, name)).mean(axis=2) for name in ("q", "v", "a", "effort", "past_effort")}
        sums = {name: parts(getattr(self, name)).sum(axis=2) for name in ("target", "raw")}
        inputs = None if self.inputs is None else parts(self.inputs).mean(axis=2)
        return replace(
            self,
            **means,
            **sums,
            inputs=inputs,
            mobility=self.mobility[:, : whole * count + 1 : count],
            dt=self.dt * count,
        )

    def with_features(self, names: tuple[str, ...]) -> TrainingData:
        """Keep only these raw features."""
        chosen = [self.names.index(name) for name in names]
        entries = tuple(self.entries[i] for i in chosen)
        return replace(self, raw=self.raw[..., chosen], contexts=self.contexts[:, chosen], entries=entries)

    def without_nuisances(self) -> TrainingData:
        """Subtract the part explained by the true nuisances, such as the commands' latency, from the target."""
        nuisance = [entry.nuisance for entry in self.entries]
        known = np.einsum("tsnk,tk->tsn", self.raw[..., nuisance], self.contexts[:, nuisance])
        return replace(self, target=self.target - known.astype(np.float32))

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(entry.name for entry in self.entries)

    @property
    def tasks(self) -> int:
        return len(self.target)

    @property
    def intervals(self) -> int:
        return int(self.target.shape[1])

    @property
    def dof(self) -> int:
        return int(self.target.shape[2])


def joined(parts: Sequence[TrainingData]) -> TrainingData:
    """Concatenate the tasks of several robots."""
    arrays: dict[str, Any] = {
        field.name: np.concatenate([getattr(part, field.name) for part in parts])
        for field in fields(TrainingData)
        if isinstance(getattr(parts[0], field.name), np.ndarray)
    }
    return replace(parts[0], **arrays)


@dataclass(frozen=True)
class ResidualSeries:
    """T tasks with S control intervals each.

    x: network inputs (T, S, n_x). y: residual over its scale (T, S, n). measured_*: as the robot would know them at
        the end of each interval. true_*: noise-free, at mid-interval.
    """

    measured_x: Array32
    measured_y: Array32
    true_x: Array32
    true_y: Array32

    def __post_init__(self) -> None:
        tasks, intervals, _ = self.measured_x.shape
        for name in ("measured_x", "measured_y", "true_x", "true_y"):
            array = getattr(self, name)
            if array.ndim != 3 or array.shape[:2] != (tasks, intervals) or not np.all(np.isfinite(array)):
                raise MetaRLError(
                    f"residual series: {name} must be finite and ({tasks}, {intervals}, …); given {array.shape}"
                )
