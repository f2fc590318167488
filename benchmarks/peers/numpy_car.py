# SPDX-License-Identifier: Apache-2.0
"""Steps of many cars in plain numpy: the single-track model of robots/ground/dynamics.py without load and slope.

The step is that of robots/ground/plan.py; its Jacobians are finite differences.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metarl_robot.robots.ground.description import GRAVITY_M_S2, Ground
from metarl_robot.robots.ground.dynamics import LEAST_LOAD
from metarl_robot.robots.ground.plan import SUBSTEP_S
from metarl_robot.robots.ground.tyre import CREEP_M_S, LEAST_LATERAL_SHARE, SHAPE

Array = NDArray[np.float64]

_GAMMA = 1.0 - 1.0 / np.sqrt(2.0)
_DIFFERENCE = 1e-6


class NumpyCar:
    """A steered vehicle; states are (K, 8), see plan.py."""

    def __init__(self, robot: Ground, step_s: float) -> None:
        self._robot, self._track = robot, robot.single_track
        self._count = max(1, int(np.ceil(step_s / SUBSTEP_S - 1e-9)))
        self._h = step_s / self._count
        weight, share = robot.mass_kg * GRAVITY_M_S2, self._track.load_share
        self._static, self._shift = weight * share[:, 0], -robot.com_height * share[:, 1]

    def advance(self, states: Array, inputs: Array) -> Array:
        """States (K, 8) after a step under inputs (K, 2)."""
        for _ in range(self._count):
            states = self._substep(states, inputs)
        return states

    def _substep(self, x: Array, u: Array) -> Array:
        h, rate = self._h, self._rate(x, u)
        inverse = np.linalg.inv(np.eye(3) - _GAMMA * h * self._jacobian(x, u, rate))
        left = 1.0 + _GAMMA * h / self._robot.lag_s

        def damped(y: Array) -> Array:
            return np.hstack([y[:, :3], np.einsum("kij,kj->ki", inverse, y[:, 3:6]), y[:, 6:] / left])

        k1 = damped(rate)
        k2 = damped(self._rate(x + h * k1, u) - 2.0 * k1)
        return np.asarray(x + 1.5 * h * k1 + 0.5 * h * k2)

    def _jacobian(self, x: Array, u: Array, rate: Array) -> Array:
        """Derivatives (K, 3, 3) of accelerations by velocities."""
        columns = []
        for i in range(3, 6):
            moved = x.copy()
            moved[:, i] += _DIFFERENCE
            columns.append((self._rate(moved, u)[:, 3:6] - rate[:, 3:6]) / _DIFFERENCE)
        return np.stack(columns, axis=2)

    def _rate(self, x: Array, u: Array) -> Array:
        robot, (c, s) = self._robot, (np.cos(x[:, 2]), np.sin(x[:, 2]))
        forward, left = c * x[:, 3] + s * x[:, 4], c * x[:, 4] - s * x[:, 3]
        force = self._tyres(forward, left, x[:, 5], x[:, 6], x[:, 7])
        ahead = (force[0] - robot.rolling_mass_kg * x[:, 5] * left) / (robot.mass_kg + robot.rolling_mass_kg)
        across, turning = force[1] / robot.mass_kg, force[2] / robot.yaw_inertia
        world = np.column_stack([c * ahead - s * across, s * ahead + c * across, turning])
        return np.hstack([x[:, 3:6], world, (u - x[:, 6:]) / robot.lag_s])

    def _tyres(self, forward: Array, left: Array, turning: Array, steering: Array, torque: Array) -> list[Array]:
        """Force (K,) along and across the body and torque (K,), of all axles."""
        robot, track = self._robot, self._track
        places = track.positions[:, 0]
        angle = steering[:, None] * track.steered
        c, s = np.cos(angle), np.sin(angle)
        sideways = left[:, None] + turning[:, None] * places
        along, across = c * forward[:, None] + s * sideways, c * sideways - s * forward[:, None]
        speed = np.sqrt(along**2 + CREEP_M_S**2)
        drive = torque[:, None] * track.torque_share[:, 1] / robot.wheel_radius_m
        load = np.maximum(self._static + drive.sum(axis=1, keepdims=True) * self._shift, LEAST_LOAD * self._static)
        grip = robot.friction * load
        drive = drive / (1.0 + (drive / grip) ** 8) ** 0.125
        slip = -track.cornering_stiffness * across / speed
        size = np.sqrt(slip**2 + 1e-9) / robot.friction
        free = np.sqrt(np.maximum(1.0 - (drive / grip) ** 2, LEAST_LATERAL_SHARE**2))
        side = load * np.sin(SHAPE * np.arctan(size / SHAPE)) / size * slip * free
        push = drive - robot.rolling * load * along / speed
        ahead, beside = c * push - s * side, s * push + c * side
        return [ahead.sum(axis=1), beside.sum(axis=1), beside @ places]
