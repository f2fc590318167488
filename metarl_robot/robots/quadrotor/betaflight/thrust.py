# SPDX-License-Identifier: Apache-2.0
"""Throttle for a collective thrust, and thrusts of motor outputs.

A motor output u in [0, 1] turns a rotor at u Ω_max: an ESC without speed control gives about a voltage, and the speed
about follows it. Its thrust is g k (u Ω_max)². Betaflight maps throttle t to u = u_idle + (1 - u_idle) t and adds the
differences of its rate loop, which keep the mean of u. The gain g is one for the battery and the rotors of the
description.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.thrust_polynomial import ThrustPolynomial
from metarl_robot.robots.quadrotor.description import Quadrotor

Array = NDArray[np.float64]

_LOW_US, _RANGE_US = 1000.0, 1000.0


class MotorCurve:
    """The conversion of one robot's motors. gain: g above, greater than zero. idle: u_idle."""

    def __init__(self, robot: Quadrotor, idle: float, gain: float = 1.0) -> None:
        self._count, self._idle = robot.nu, idle
        self._curve = ThrustPolynomial(0.0, 0.0, gain * float(robot.effort_limit[0]))

    def throttle(self, collective_n: float) -> float:
        """Throttle in [0, 1] for a collective thrust [N]."""
        output = float(self._curve.inverse(collective_n / self._count))
        return min(max((output - self._idle) / (1.0 - self._idle), 0.0), 1.0)

    def thrusts(self, outputs: Array) -> Array:
        """Thrusts (4,) [N] of motor outputs (4,) in [0, 1]."""
        return self._curve.thrust(outputs)


def outputs_of(motors_us: Array) -> Array:
    """Motor outputs (4,) in [0, 1] from the values of MSP_MOTOR [us]; a motor that is off counts as zero."""
    return np.asarray(np.clip((motors_us - _LOW_US) / _RANGE_US, 0.0, 1.0))
