# SPDX-License-Identifier: Apache-2.0
"""Last stage of a quadrotor's controller: from collective thrust and torque to commands for fast motor response.

Motors follow commanded speeds with a lag τ. A command that overshoots shortens the lag to τ / s. With the present speed
Ω (from a motor model) and the wanted speed Ω_d, over a control period h:

    Ω_c = Ω + (Ω_d - Ω) (1 - e^(-s h / τ)) / (1 - e^(-h / τ))
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from metarl_robot.control.effort_limits import EffortLimiter
from metarl_robot.core.signals import Command, State, Status
from metarl_robot.robots.quadrotor.description import GRAVITY_M_S2, MotorModel, Quadrotor

Array = NDArray[np.float64]

_NORM = (0.9, 1.1)  # norm of a quaternion that is accepted as an attitude
_SHORT = 1e-6  # tolerated error of a thrust or torque, share of its reach
_INTEGRAL_SHARE = 0.4  # share of the torque's reach
_LEVEL_SHARE = (0.7, 1.4)  # thrust without a valid state, share of the weight


class Rotors:
    """Turns wrenches into commands within all limits. speed_up: s of the module's docstring, at least 1."""

    def __init__(self, robot: Quadrotor, speed_up: float) -> None:
        self._robot = robot
        self._limiter = EffortLimiter(robot)
        up, down = robot.motor_time_s
        period = robot.control_period_s
        self._gain_up, self._gain_down = (
            float(np.expm1(-speed_up * period / tau) / np.expm1(-period / tau)) for tau in (up, down)
        )
        self._reach = reach(robot)
        self.reset()

    def reset(self) -> None:
        self._limiter.reset()
        self._motors = MotorModel(self._robot, self._robot.hover_thrust)
        self._speeds_before = self._motors.speeds
        self._mean = self._robot.hover_thrust
        self._short = np.zeros(4, bool)

    def at(self, time: float) -> None:
        """Set the time [s] of the next command."""
        self._limiter.at(time)

    @property
    def short(self) -> NDArray[np.bool_]:
        """Whether (4,) the last collective thrust, roll, pitch and yaw torque exceeded the rotors' limits.

        Integrals stop on these axes.
        """
        return self._short

    @property
    def thrusts(self) -> Array:
        """Mean thrusts (4,) [N] by the motor model from the last command until the next is due."""
        return self._mean

    def follow(self, effort: Array) -> None:
        """Record that this effort (4,) acted instead of the last command; see BumplessTransfer."""
        self._motors.speeds = self._speeds_before
        self._mean = self._motors.advance(effort, self._robot.control_period_s)

    def send(self, collective: float, torque: Array) -> Command:
        """Return the command for a collective thrust [N] and a torque (3,) [Nm; body]."""
        thrusts = self._robot.thrusts(collective, torque)
        self._short = np.abs(self._robot.allocation @ thrusts - np.array([collective, *torque])) > _SHORT * self._reach
        speed = self._robot.speeds(thrusts)
        gap = speed - self._motors.speeds
        overshot = self._motors.speeds + gap * np.where(gap > 0.0, self._gain_up, self._gain_down)
        wanted = self._robot.thrusts_of(np.maximum(overshot, 0.0))
        return Command(self._issue(np.clip(wanted, self._robot.effort_lower, self._robot.effort_limit)))

    def level(self, message: str) -> Command:
        """Command without a usable state or reference: zero torque, and about the thrust of the last command."""
        weight = self._robot.mass_kg * GRAVITY_M_S2
        last = weight if self._limiter.last is None else float(self._limiter.last.sum())
        thrusts = self._robot.thrusts(
            float(np.clip(last, _LEVEL_SHARE[0] * weight, _LEVEL_SHARE[1] * weight)), np.zeros(3)
        )
        return Command(self._issue(thrusts), Status.FAILED, f"{message}: thrust without torque")

    def _issue(self, thrusts: Array) -> Array:
        effort = self._limiter.apply(thrusts)
        self._speeds_before = self._motors.speeds
        self._mean = self._motors.advance(effort, self._robot.control_period_s)
        return effort


def usable(state: State) -> bool:
    """Whether a state is usable for control: finite, with a quaternion near unit norm."""
    if not (np.all(np.isfinite(state.q)) and np.all(np.isfinite(state.v))):
        return False
    return _NORM[0] < float(np.linalg.norm(state.q[3:])) < _NORM[1]


def reach(robot: Quadrotor) -> Array:
    """Return (4,) half of the rotors' range of collective thrust [N] and torques [Nm]."""
    return np.asarray(np.abs(robot.allocation) @ (robot.effort_limit - robot.effort_lower) / 2.0)


def turning_integral_bound(robot: Quadrotor) -> Array:
    """Bound (3,) of the integral of an attitude loop [rad/s^2]."""
    return np.asarray(_INTEGRAL_SHARE * reach(robot)[1:] / np.diag(robot.inertia))


class Pace(NamedTuple):
    """Motor speed-up s, and the time constant T [s] that no gain can remove: sped-up motors and delays."""

    speed_up: float
    lag_s: float


def pace(robot: Quadrotor, latency_s: float, motor_share: float) -> Pace:
    """Shorten the motors' lag to motor_share of that of latency and sampling, unless it is already shorter."""
    delay = latency_s + 1.5 * robot.control_period_s
    tau = float(np.mean(robot.motor_time_s))
    faster = min(tau, motor_share * delay)
    return Pace(tau / faster, faster + delay)
