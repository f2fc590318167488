# SPDX-License-Identifier: Apache-2.0
"""Training data (training_data.py) of a robot with a vector as position, built from rollouts.

The states are noise-free; the learner adds noise.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.feature_spec import feature_map, raw_groups
from metarl_robot.adaptation.features import FeatureMap, Series, Xi
from metarl_robot.adaptation.training_data import HISTORY, TrainingData
from metarl_robot.core.errors import MetaRLError
from metarl_robot.core.robot import Robot
from metarl_robot.dynamics.protocols import Dynamics

Array = NDArray[np.float64]
Array32 = NDArray[np.float32]

_BLOCK = 50


class EuclideanModel(Dynamics, Protocol):
    """Dynamics of N states at once."""

    def momenta(self, q: Array, v: Array) -> tuple[Array, Array, Array]:
        """Mass matrices (N, n, n), momenta (N, n) and β (N, n) for states (N, n)."""
        ...

    def input_forces(self, q: Array, effort: Array) -> Array:
        """Generalised forces B u (N, n) of efforts (N, nu)."""
        ...


_STATES = ("q", "v", "q_measured", "v_measured")


@dataclass(frozen=True)
class Rollouts:
    """Simulated rollouts: T tasks with K control intervals each.

    q, v: (T, K + 1, n) noise-free states as the sensors see them.
    q_measured, v_measured: with the sensors' errors.
    effort: (T, K, nu) commanded effort.
    dt: length of an interval [s].
    velocity_noise: (T,) standard deviation of the measured velocity.
    encoder_step: (T,) resolution of the measured position.
    contexts: (T, n_raw) true coefficients of the raw features `context_names`; NaN if there is no true value.
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
        tasks, intervals, n = self.effort.shape[0], self.effort.shape[1], self.q.shape[2]
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


def training_data(
    robot: Robot, dynamics: EuclideanModel, rollouts: Rollouts, groups: tuple[str, ...] | None = None
) -> TrainingData:
    """Residual and raw features of every interval except the first `HISTORY`.

    groups: None: all with a true value in simulation.

    Raises:
        UnknownNameError: no such feature group.
        MetaRLError: the rollouts have no true context for a feature.
    """
    features = feature_map(robot, dynamics, raw_groups(robot.kind) if groups is None else groups)
    missing = [name for name in features.names if name not in rollouts.context_names]
    if missing:
        raise MetaRLError(f"training_data: the rollouts have no true values of {missing}")
    chosen = [rollouts.context_names.index(name) for name in features.names]
    blocks = [
        _block(dynamics, features, rollouts.part(slice(start, start + _BLOCK)))
        for start in range(0, len(rollouts.q), _BLOCK)
    ]
    arrays = {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
    return TrainingData(
        **arrays,
        dt=rollouts.dt,
        velocity_noise=rollouts.velocity_noise,
        encoder_step=rollouts.encoder_step,
        contexts=rollouts.contexts[:, chosen],
        entries=features.entries,
    )


def _block(dynamics: EuclideanModel, features: FeatureMap, rollouts: Rollouts) -> dict[str, Array32]:
    tasks, intervals, nu = rollouts.effort.shape
    n = rollouts.q.shape[2]
    dt, effort = rollouts.dt, rollouts.effort.astype(float)
    q, v = rollouts.q.astype(float), rollouts.v.astype(float)
    samples = (tasks, intervals + 1)
    mass, momentum, beta = (
        x.reshape(*samples, *x.shape[1:]) for x in dynamics.momenta(q.reshape(-1, n), v.reshape(-1, n))
    )
    half_way = 0.5 * (q[:, 1:] + q[:, :-1])
    force = dynamics.input_forces(half_way.reshape(-1, n), effort.reshape(-1, nu)).reshape(half_way.shape)
    target = np.diff(momentum, axis=1) - dt * (force + 0.5 * (beta[:, 1:] + beta[:, :-1]))
    past_effort = np.stack([effort[:, HISTORY - 1 : -1], effort[:, :-HISTORY]], axis=2)
    q, v, mass, effort, target = (x[:, HISTORY:] for x in (q, v, mass, effort, target))
    middle = 0.5 * (q[:, 1:] + q[:, :-1]), 0.5 * (v[:, 1:] + v[:, :-1]), np.diff(v, axis=1) / dt
    at = [x.reshape(-1, n) for x in middle]
    xi = Xi(at[0], at[1], at[2], effort.reshape(-1, nu), np.moveaxis(past_effort.reshape(-1, HISTORY, nu), 1, 0))
    arrays = {
        "target": target,
        "raw": features.impulses(Series(q, v, dt, xi)).reshape(*target.shape, features.size),
        "mobility": np.linalg.inv(mass),
        "q": middle[0],
        "v": middle[1],
        "a": middle[2],
        "effort": effort,
        "past_effort": past_effort,
    }
    return {name: array.astype(np.float32) for name, array in arrays.items()}
