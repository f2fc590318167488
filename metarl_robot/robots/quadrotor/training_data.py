# SPDX-License-Identifier: Apache-2.0
"""Builds a quadrotor's training data (adaptation/training_data.py): dimensionless, with the thrust that acted.

The residual's impulse is T_k = M_{k+1} v_{k+1} - M_k v_k - dt (B u_k + β̄_k). u_k is the mean thrust at the rotors'
true speeds, so it contains neither latency nor the motors' lag. Forces and context entries are divided by the
quadrotor's scales (scale.py), velocities of M⁻¹ by theirs. Data of quadrotors of any size can therefore
be combined.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.features import FeatureMap, Series, Xi
from metarl_robot.adaptation.training_data import HISTORY, TrainingData
from metarl_robot.robots.quadrotor.description import Quadrotor
from metarl_robot.robots.quadrotor.dynamics import QuadrotorDynamics
from metarl_robot.robots.quadrotor.scale import FlightScale

Array = NDArray[np.float64]
Array32 = NDArray[np.float32]

_BLOCK = 50


@dataclass(frozen=True)
class Flights:
    """Data of T rollouts of K control intervals.

    q (T, K + 1, 7), v (T, K + 1, 6): noise-free. acting: (T, K, n) mean thrust [N]. noise: (T, 6) standard deviation of
    velocities as accurate as all sensors together [m/s, rad/s]. contexts: (T, n_raw) true coefficients of
    the raw features.
    """

    q: Array32
    v: Array32
    acting: Array32
    dt: float
    noise: Array
    contexts: Array


def flight_training_data(
    robot: Quadrotor, dynamics: QuadrotorDynamics, features: FeatureMap, flights: Flights
) -> TrainingData:
    """Residual and raw features of every interval except the first `HISTORY`, dimensionless."""
    scale = FlightScale(robot)
    starts = range(0, len(flights.q), _BLOCK)
    blocks = [_block(dynamics, features, scale, flights, slice(start, start + _BLOCK)) for start in starts]
    arrays = {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
    tasks = len(flights.q)
    return TrainingData(
        **arrays,
        dt=flights.dt,
        velocity_noise=np.zeros(tasks),
        encoder_step=np.zeros(tasks),
        contexts=flights.contexts / features.scale,
        entries=features.entries,
        noise=flights.noise / scale.velocity,
    )


def _block(
    dynamics: QuadrotorDynamics, features: FeatureMap, scale: FlightScale, flights: Flights, tasks: slice
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
    xi = Xi(flat[0], flat[1], flat[2], flat[3], np.zeros((2, *flat[3].shape)))
    raw = features.impulses(Series(q, v, dt, xi)).reshape(*shape, features.size)
    mobility = np.linalg.inv(mass) * (scale.force / scale.velocity[:, None])
    arrays = {
        "target": target / scale.force,
        "raw": raw * features.scale / scale.force[:, None],
        "mobility": mobility,
        "q": middle_q,
        "v": middle_v,
        "a": acceleration,
        "effort": thrust,
        "past_effort": np.zeros((*thrust.shape[:2], 2, thrust.shape[2])),
        "inputs": scale.encode(flat[0], flat[1]).reshape(*shape[:2], -1),
    }
    return {name: array.astype(np.float32) for name, array in arrays.items()}
