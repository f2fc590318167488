# SPDX-License-Identifier: Apache-2.0
"""Scales that make a quadrotor's quantities dimensionless, so that one network and prior serve any size."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core import rotation
from metarl_robot.robots.quadrotor.description import GRAVITY_M_S2, Quadrotor

Array = NDArray[np.float64]


class FlightScale:
    """Scales of one quadrotor.

    force: (6,) weight [N], and about each axis the torque of a quarter of it at one rotor [Nm]. velocity: (6,) a
    quarter of the limits. mass [kg]. length: mean distance of the rotors from the body's z axis [m]. inertia: trace
    [kg m²].
    """

    def __init__(self, robot: Quadrotor) -> None:
        weight = robot.mass_kg * GRAVITY_M_S2
        torque = 0.25 * robot.nu * np.abs(robot.allocation[1:] * robot.hover_thrust).max(axis=1)
        self.mass, self.inertia = robot.mass_kg, float(np.trace(robot.inertia))
        self.length = float(np.linalg.norm(robot.rotor_positions[:, :2], axis=1).mean())
        self.force: Array = np.concatenate([np.full(3, weight), torque])
        self.velocity: Array = 0.25 * robot.velocity_limit

    def encode(self, q: Array, v: Array) -> Array:
        """Network inputs (N, 9) of states (N, 7), (N, 6): velocities, and the body's z axis in the world.

        The z axis does not depend on heading.
        """
        scaled = v / self.velocity
        return np.concatenate([scaled[:, :3], rotation.up(q[:, 3:]), scaled[:, 3:]], axis=1)

    def encode_one(self, q: Array, v: Array) -> Array:
        """Network inputs (9,) of one state (7,), (6,); faster than `encode` because it makes few numpy calls."""
        inputs, (w, x, y, z) = np.empty(9), q[3:].tolist()
        np.divide(v[:3], self.velocity[:3], out=inputs[:3])
        inputs[3], inputs[4], inputs[5] = 2.0 * (x * z + w * y), 2.0 * (y * z - w * x), 1.0 - 2.0 * (x * x + y * y)
        np.divide(v[3:], self.velocity[3:], out=inputs[6:])
        return inputs
