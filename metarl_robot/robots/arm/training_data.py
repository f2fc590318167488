# SPDX-License-Identifier: Apache-2.0
"""What meta-learning learns from: for each task and control interval the residual's impulse and the features that may
explain it.

The target is exact and needs no differentiation (momentum form, adaptation/momentum_filter.py):

    T_k = M_{k+1} v_{k+1} - M_k v_k - dt (τ_k + β̄_k) = ∫Δ dt

from noise-free states; T_k / dt is the mean residual Δ of the interval. Noise is added where learning has to live with
it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.factory import feature_map
from metarl_robot.adaptation.features import FeatureMap, Xi
from metarl_robot.core.errors import MetaRLError
from metarl_robot.core.robot import Robot
from metarl_robot.robots.arm.dynamics import ArmDynamics

Array = NDArray[np.float64]
Array32 = NDArray[np.float32]

RAW_GROUPS = ("payload", "friction", "motor", "latency")
"""Raw features with a context that is known in simulation."""
HISTORY = 2
"""Intervals at the start of a rollout whose past commands are not known: left out."""
_BLOCK = 50
_STATES = ("q", "v", "q_measured", "v_measured")


@dataclass(frozen=True)
class Rollouts:
    """T rollouts of K control intervals, as simulated.

    q, v: (T, K + 1, n) noise-free states as the sensors see them; q_measured, v_measured: with the sensors' errors.
    effort: (T, K, n) commanded meanwhile. dt: of an interval [s].
    velocity_noise: (T,) standard deviation of the measured velocity [rad/s]. encoder_step: (T,) of the measured
    position [rad]. contexts: (T, n_raw) true coefficients of the raw features `context_names`; NaN where there is no
    true value.
    """

    q: Array32
    v: Array32
    q_measured: Array32
    v_measured: Array32
    effort: Array32
    dt: float
    velocity_noise: Array
    encoder_step: Array
    contexts: Array
    context_names: tuple[str, ...]

    def __post_init__(self) -> None:
        tasks, intervals, n = self.effort.shape
        shapes: dict[str, tuple[int, ...]] = dict.fromkeys(_STATES, (tasks, intervals + 1, n))
        shapes |= {"velocity_noise": (tasks,), "encoder_step": (tasks,), "contexts": (tasks, len(self.context_names))}
        for name, shape in shapes.items():
            if getattr(self, name).shape != shape:
                raise MetaRLError(f"rollouts: {name} must be {shape}; given {getattr(self, name).shape}")
        if intervals <= HISTORY:
            raise MetaRLError(f"rollouts: at least {HISTORY + 1} intervals are needed; given {intervals}")
        for name in (*_STATES, "effort"):
            if not np.all(np.isfinite(getattr(self, name))):
                raise MetaRLError(f"rollouts: {name} must be finite")

    def part(self, tasks: slice) -> Rollouts:
        """Some of the rollouts."""
        names = (*_STATES, "effort", "velocity_noise", "encoder_step", "contexts")
        return replace(self, **{name: getattr(self, name)[tasks] for name in names})


@dataclass(frozen=True)
class Experience:
    """T tasks, S consecutive intervals each.

    target: (T, S, n) ∫Δ dt [Nm s]. raw: (T, S, n, n_raw) ∫Φ dt of the raw features `names`. mobility: (T, S + 1, n, n)
    M⁻¹ at the samples that bound the intervals. q, v, a, effort: (T, S, n) at mid-interval; past_effort: (T, S, 2, n).
    dt, velocity_noise, encoder_step, contexts: as in Rollouts, contexts in the order of `names`. inputs: (T, S, n_x) of
    the network, where they are not those of an arm's joints; noise: (T, n) of velocities that are as good as all
    sensors together, where encoder_step does not tell.
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
    names: tuple[str, ...]
    inputs: Array32 | None = None
    noise: Array | None = None

    def merged(self, count: int) -> Experience:
        """Every `count` intervals as one: impulses add up exactly; of the samples only every `count`-th is kept."""
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

    def with_features(self, names: tuple[str, ...]) -> Experience:
        """With these raw features alone."""
        chosen = [self.names.index(name) for name in names]
        return replace(self, raw=self.raw[..., chosen], contexts=self.contexts[:, chosen], names=names)

    def without_latency(self) -> Experience:
        """The residual at the effort that acted: less what the commands' true latency explains."""
        late = [name.startswith("latency_") for name in self.names]
        known = np.einsum("tsnk,tk->tsn", self.raw[..., late], self.contexts[:, late])
        return replace(self, target=self.target - known.astype(np.float32))

    @property
    def tasks(self) -> int:
        return len(self.target)

    @property
    def intervals(self) -> int:
        return int(self.target.shape[1])

    @property
    def dof(self) -> int:
        return int(self.target.shape[2])


def joined(parts: Sequence[Experience]) -> Experience:
    """Tasks of several robots, side by side."""
    arrays: dict[str, Any] = {
        field.name: np.concatenate([getattr(part, field.name) for part in parts])
        for field in fields(Experience)
        if isinstance(getattr(parts[0], field.name), np.ndarray)
    }
    return replace(parts[0], **arrays)


def experience(
    robot: Robot, dynamics: ArmDynamics, rollouts: Rollouts, groups: tuple[str, ...] = RAW_GROUPS
) -> Experience:
    """Residual and raw features of every interval but the first `HISTORY`.

    Raises:
        UnknownNameError: no such feature group.
        MetaRLError: the rollouts do not know the true context of a feature.
    """
    maps = {group: feature_map(robot, dynamics, (group,)) for group in groups}
    names = tuple(name for features in maps.values() for name in features.names)
    missing = [name for name in names if name not in rollouts.context_names]
    if missing:
        raise MetaRLError(f"experience: the rollouts have no true values of {missing}")
    chosen = [rollouts.context_names.index(name) for name in names]
    blocks = [
        _block(dynamics, maps, rollouts.part(slice(start, start + _BLOCK)))
        for start in range(0, len(rollouts.q), _BLOCK)
    ]
    arrays = {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
    return Experience(
        **arrays,
        dt=rollouts.dt,
        velocity_noise=rollouts.velocity_noise,
        encoder_step=rollouts.encoder_step,
        contexts=rollouts.contexts[:, chosen],
        names=names,
    )


def _block(dynamics: ArmDynamics, maps: dict[str, FeatureMap], rollouts: Rollouts) -> dict[str, Array32]:
    tasks, intervals, n = rollouts.effort.shape
    dt, effort = rollouts.dt, rollouts.effort.astype(float)
    q, v = rollouts.q.astype(float), rollouts.v.astype(float)
    samples = (tasks, intervals + 1)
    mass, momentum, beta = (
        x.reshape(*samples, *x.shape[1:]) for x in dynamics.momenta(q.reshape(-1, n), v.reshape(-1, n))
    )
    target = np.diff(momentum, axis=1) - dt * (effort + 0.5 * (beta[:, 1:] + beta[:, :-1]))
    past_effort = np.stack([effort[:, HISTORY - 1 : -1], effort[:, :-HISTORY]], axis=2)
    q, v, mass, effort, target = (x[:, HISTORY:] for x in (q, v, mass, effort, target))
    middle = 0.5 * (q[:, 1:] + q[:, :-1]), 0.5 * (v[:, 1:] + v[:, :-1]), np.diff(v, axis=1) / dt
    at = [x.reshape(-1, n) for x in (*middle, effort)]
    xi = Xi(at[0], at[1], at[2], at[3], np.moveaxis(past_effort.reshape(-1, HISTORY, n), 1, 0))
    parts = [np.zeros((*target.shape, 0))]
    for group, features in maps.items():
        impulses = _payload_impulses(dynamics, q, v, dt) if group == "payload" else dt * features.design(xi)
        parts.append(impulses.reshape(*target.shape, features.size))
    arrays = {
        "target": target,
        "raw": np.concatenate(parts, axis=3),
        "mobility": np.linalg.inv(mass),
        "q": middle[0],
        "v": middle[1],
        "a": middle[2],
        "effort": effort,
        "past_effort": past_effort,
    }
    return {name: array.astype(np.float32) for name, array in arrays.items()}


def _payload_impulses(dynamics: ArmDynamics, q: Array, v: Array, dt: float) -> Array:
    """PayloadFeatures.impulse of all intervals (T, S, n, 10) between samples (T, S + 1, n)."""
    n = q.shape[2]
    by_momentum, by_beta = (
        x.reshape(*q.shape, -1) for x in dynamics.payload_momentum_regressors(q.reshape(-1, n), v.reshape(-1, n))
    )
    return 0.5 * dt * (by_beta[:, 1:] + by_beta[:, :-1]) - np.diff(by_momentum, axis=1)
