# SPDX-License-Identifier: Apache-2.0
"""Commands that overshoot, so that thrust follows faster than the motors' lag.

Motors follow commanded speeds with a lag τ. A command that overshoots shortens the lag to τ / s. With the present speed
Ω (from a motor model) and the wanted speed Ω_d, over a control period h:

    Ω_c = Ω + (Ω_d - Ω) (1 - e^(-s h / τ)) / (1 - e^(-h / τ))
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from metarl_robot.robots.quadrotor.description import Quadrotor

Array = NDArray[np.float64]


class Pace(NamedTuple):
    """Motor speed-up s, and the time constant T [s] that no gain can remove: sped-up motors and delays."""

    speed_up: float
    lag_s: float


def pace(robot: Quadrotor, latency_s: float, motor_share: float = 0.85) -> Pace:
    """Shorten the motors' lag to motor_share of that of latency and sampling, unless it is already shorter."""
    delay = latency_s + 1.5 * robot.control_period_s
    tau = float(np.mean(robot.motor_time_s))
    faster = min(tau, motor_share * delay)
    return Pace(tau / faster, faster + delay)


class MotorLead:
    """See the module's docstring. speed_up: s, at least 1."""

    def __init__(self, robot: Quadrotor, speed_up: float) -> None:
        self._robot = robot
        period = robot.control_period_s
        self._gain_up, self._gain_down = (
            float(np.expm1(-speed_up * period / tau) / np.expm1(-period / tau)) for tau in robot.motor_time_s
        )

    def command(self, thrusts: Array, speeds: Array) -> Array:
        """Commands (n,) [N] within the limits, for wanted thrusts (n,) [N] at present speeds (n,) [rad/s]."""
        gap = self._robot.speeds(thrusts) - speeds
        overshot = speeds + gap * np.where(gap > 0.0, self._gain_up, self._gain_down)
        wanted = self._robot.thrusts_of(np.maximum(overshot, 0.0))
        return np.clip(wanted, self._robot.effort_lower, self._robot.effort_limit)
