# SPDX-License-Identifier: Apache-2.0
"""Builds a quadrotor's training data (adaptation/training_data.py): dimensionless, with the thrust that acted.

The residual's impulse is T_k = M_{k+1} v_{k+1} - M_k v_k - dt (B u_k + β̄_k). u_k is the mean thrust at the rotors'
true speeds, so it contains neither latency nor the motors' lag. Forces and context entries are divided by the
quadrotor's scales (features.py: FlightScale), velocities of M⁻¹ by theirs. Data of quadrotors of any size can therefore
be combined.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.factory import feature_map
from metarl_robot.adaptation.features import Xi
from metarl_robot.adaptation.training_data import HISTORY, TrainingData
from metarl_robot.robots.quadrotor.description import Quadrotor
from metarl_robot.robots.quadrotor.dynamics import QuadrotorDynamics
from metarl_robot.robots.quadrotor.features import FlightScale

Array = NDArray[np.float64]
Array32 = NDArray[np.float32]

GROUPS = ("payload", "rotor", "push", "drag")
_BLOCK = 50


@dataclass(frozen=True)
class Flights:
    """Data of T rollouts of K control intervals.

    q (T, K + 1, 7), v (T, K + 1, 6): noise-free. acting: (T, K, 4) mean thrust [N]. noise: (T, 6) standard deviation of
    velocities as accurate as all sensors together [m/s, rad/s]. contexts: (T, 24) true coefficients of `GROUPS`.
    """

    q: Array32
    v: Array32
    acting: Array32
    dt: float
    noise: Array
    contexts: Array


def flight_training_data(robot: Quadrotor, dynamics: QuadrotorDynamics, flights: Flights) -> TrainingData:
    """Residual and raw features of every interval except the first `HISTORY`, dimensionless."""
    scale, names = FlightScale(robot), feature_map(robot, dynamics, GROUPS).names
    starts = range(0, len(flights.q), _BLOCK)
    blocks = [_block(robot, dynamics, scale, flights, slice(start, start + _BLOCK)) for start in starts]
    arrays = {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
    tasks = len(flights.q)
    return TrainingData(
        **arrays,
        dt=flights.dt,
        velocity_noise=np.zeros(tasks),
        encoder_step=np.zeros(tasks),
        contexts=flights.contexts / scale.context(names),
        names=names,
        noise=flights.noise / scale.velocity,
    )


def _block(
    robot: Quadrotor, dynamics: QuadrotorDynamics, scale: FlightScale, flights: Flights, tasks: slice
) -> dict[str, Array32]:
    q, v, thrust = (x[tasks].astype(float)[:, HISTORY:] for x in (flights.q, flights.v, flights.acting))
    dt, shape = flights.dt, (*thrust.shape[:2], 6)
    q[..., 3:] /= np.linalg.norm(q[..., 3:], axis=-1, keepdims=True)
    mass, momentum, beta = (
        x.reshape(*q.shape[:2], *x.shape[1:]) for x in dynamics.momenta(q.reshape(-1, 7), v.reshape(-1, 6))
    )
    middle_q, middle_v = 0.5 * (q[:, 1:] + q[:, :-1]), 0.5 * (v[:, 1:] + v[:, :-1])
    middle_q[..., 3:] /= np.linalg.norm(middle_q[..., 3:], axis=-1, keepdims=True)
    acceleration = np.diff(v, axis=1) / dt
    flat = [x.reshape(-1, x.shape[-1]) for x in (middle_q, middle_v, acceleration, thrust)]
    force = np.einsum("kij,kj->ki", dynamics.input_maps(flat[0]), flat[3]).reshape(shape)
    target = np.diff(momentum, axis=1) - dt * (force + 0.5 * (beta[:, 1:] + beta[:, :-1]))
    xi = Xi(flat[0], flat[1], flat[2], flat[3], np.zeros((2, len(flat[0]), 4)))
    others = feature_map(robot, dynamics, GROUPS[1:])
    raw = np.concatenate(
        [_payload_impulses(dynamics, q, v, dt), dt * others.design(xi).reshape(*shape, others.size)], axis=3
    )
    by_context = scale.context(feature_map(robot, dynamics, GROUPS).names)
    mobility = np.linalg.inv(mass) * (scale.force / scale.velocity[:, None])
    arrays = {
        "target": target / scale.force,
        "raw": raw * by_context / scale.force[:, None],
        "mobility": mobility,
        "q": middle_q,
        "v": middle_v,
        "a": acceleration,
        "effort": thrust,
        "past_effort": np.zeros((*thrust.shape[:2], 2, 4)),
        "inputs": scale.encode(flat[0], flat[1]).reshape(*shape[:2], -1),
    }
    return {name: array.astype(np.float32) for name, array in arrays.items()}


def _payload_impulses(dynamics: QuadrotorDynamics, q: Array, v: Array, dt: float) -> Array:
    """Impulses of FlightPayloadFeatures for all intervals (T, S, 6, 10) between samples (T, S + 1, ·)."""
    flat = dynamics.attached_momentum_regressors(q.reshape(-1, 7), v.reshape(-1, 6))
    by_momentum, by_beta = (x.reshape(*q.shape[:2], 6, -1) for x in flat)
    return np.asarray(0.5 * dt * (by_beta[:, 1:] + by_beta[:, :-1]) - np.diff(by_momentum, axis=1))
