# SPDX-License-Identifier: Apache-2.0
"""Commands for an autopilot's rate loop that has an integral, from rotor thrusts.

A rate loop turns rates into torque, about as I ẇ = I (w_c - w) / t. Its integral cancels a steady torque d, such as
that of wind or of a payload off the centre. A controller that knows d commands -d as well. Rates made of that torque
have a steady error of t I⁻¹ d, which tilts the quadrotor: an X500 with 6 m/s of wind and 30 % of payload stood 16 mm
off. So

    w_c = w + t I⁻¹ (τ - w × I w + d̂)

with τ the commanded torque. d̂ comes from rates and acting thrusts, by a second-order observer with both poles at -ω
(Luenberger 1971, "An introduction to observers", IEEE TAC 16(6)):

    ŵ' = I⁻¹ (τ_acting - w × I w + d̂) + 2 ω (w - ŵ),    d̂' = I ω² (w - ŵ)
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core import rotation
from metarl_robot.robots.quadrotor.command import RateCommand
from metarl_robot.robots.quadrotor.description import MotorModel, Quadrotor

Array = NDArray[np.float64]

BANDWIDTH_RAD_S = 4.0
_LONGEST_S = 0.05  # a longer time between two states is a gap


class RateLoop:
    """See the module's docstring.

    Arguments:
        robot: the quadrotor.
        time_constant_s: t above, of the autopilot's loop.

    Attributes:
        torque: d̂ (3,) [Nm; body]; zero at first.
    """

    def __init__(self, robot: Quadrotor, time_constant_s: float) -> None:
        self._robot, self._constant_s = robot, time_constant_s
        self._motors = MotorModel(robot, robot.hover_thrust)
        self._rate: Array | None = None
        self._time_s = -np.inf
        self.torque: Array = np.zeros(3)

    def acted(self, time_s: float, rate: Array, thrusts: Array) -> None:
        """Take body rates (3,) [rad/s] measured at a time, and the thrusts (n,) [N] given to the motors since."""
        since_s, self._time_s = time_s - self._time_s, time_s
        if self._rate is None or not 0.0 < since_s <= _LONGEST_S:
            self._rate = rate.copy()
            return
        error = rate - self._rate
        turning = self._robot.allocation[1:] @ self._motors.advance(thrusts, since_s)
        self._rate = self._rate + since_s * (self._change(rate, turning) + 2.0 * BANDWIDTH_RAD_S * error)
        self.torque = self.torque + since_s * BANDWIDTH_RAD_S**2 * (self._robot.inertia @ error)

    def command(self, rate: Array, thrusts: Array) -> RateCommand:
        """The command for rotor thrusts (n,) [N] at body rates (3,) [rad/s], within the robot's limits."""
        rates = rate + self._constant_s * self._change(rate, self._robot.allocation[1:] @ thrusts)
        limit = self._robot.velocity_limit[3:]
        return RateCommand(self._robot.collective(thrusts), np.clip(np.nan_to_num(rates), -limit, limit))

    def _change(self, rate: Array, torque: Array) -> Array:
        inertia = self._robot.inertia
        turning: Array = torque + self.torque - rotation.cross(rate, inertia @ rate)
        return np.asarray(np.linalg.solve(inertia, turning), dtype=np.float64)
