# SPDX-License-Identifier: Apache-2.0
"""Rotor thrusts that acted while the autopilot flew by itself, from the IMU.

Autopilots do not tell the thrusts of their own modes (PX4's topics), or only a collective one without unit (MAVLink).
Between two commands, T apart, the mean specific force f_z along body z and the rates w_0, w_1 [rad/s; FLU] give, by
Euler's equation for the nominal robot,

    F = m f_z,    τ = I (w_1 - w_0) / T + w × I w

These thrusts explain the motion by the nominal robot alone: an adapter that is told them learns nothing of a vehicle
that it does not fly. The autopilot's own integrals carry a payload, and the thrust curve is learned for m f_z as well
(thrust_curve.py), so that a command m g is a hover. On the ground F is the force of the ground and the rotors together.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core import rotation
from metarl_robot.core.signals import Inertial
from metarl_robot.robots.quadrotor.description import Quadrotor

Array = NDArray[np.float64]


class MeasuredThrusts:
    """See the module's docstring."""

    def __init__(self, robot: Quadrotor) -> None:
        self._robot, self._thrusts = robot, robot.hover_thrust
        self._before: Array | None = None  # rates at the last `take`
        self._now: Array | None = None
        self._forget()

    def observe(self, inertial: Inertial, dt_s: float) -> None:
        """Take an IMU measurement, dt_s after the last one."""
        if not np.isfinite([*inertial.specific_force, *inertial.rate]).all():
            return
        self._now = inertial.rate
        self._impulse += dt_s * float(inertial.specific_force[2])
        self._passed_s += dt_s

    def take(self) -> Array:
        """Thrusts (4,) [N] since the last call, within the limits; without a new measurement the last ones.

        Before the first measurement they are those of a hover.
        """
        now, before = self._now, self._before
        if now is not None and self._passed_s > 0.0:
            turn = np.zeros(3) if before is None else (now - before) / self._passed_s
            inertia = self._robot.inertia
            torque = inertia @ turn + rotation.cross(now, inertia @ now)
            collective = self._robot.mass_kg * self._impulse / self._passed_s
            self._thrusts = self._robot.thrusts(collective, torque)
            self._before = now
        self._forget()
        return self._thrusts

    def _forget(self) -> None:
        self._impulse, self._passed_s = 0.0, 0.0
