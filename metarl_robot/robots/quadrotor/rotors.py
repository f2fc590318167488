# SPDX-License-Identifier: Apache-2.0
"""Last stage of a quadrotor's controller: from collective thrust and torque to commands for fast motor response.

Commands overshoot to shorten the motors' lag (motor_lead.py).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metarl_robot.control.effort_limits import EffortLimiter
from metarl_robot.core.signals import Command, State, Status
from metarl_robot.robots.quadrotor.description import GRAVITY_M_S2, MotorModel, Quadrotor
from metarl_robot.robots.quadrotor.motor_lead import MotorLead
from metarl_robot.robots.quadrotor.upright_recovery import lift_share

Array = NDArray[np.float64]

FAST_SPIN = 0.5
"""Yaw rate above which thrust gives way to yaw torque, as a share of its limit."""
YAW_RESERVE = 0.15
"""Largest yaw torque that comes before collective thrust: change of each rotor's thrust, share of its range."""
_NORM = (0.9, 1.1)  # norm of a quaternion that is accepted as an attitude
LONGEST_S = 0.1
"""Longer times between two commands count as this time."""
_SHORT = 1e-6  # tolerated error of a thrust or torque, share of its reach
_INTEGRAL_SHARE = 0.4  # share of the torque's reach
_LEVEL_SHARE = (0.7, 1.4)  # thrust without a valid state, share of the weight


class Rotors:
    """Converts wrenches to commands within all limits. speed_up: see MotorLead.

    elapsed_s: time between the last two commands; that of the control period at first.
    """

    def __init__(self, robot: Quadrotor, speed_up: float) -> None:
        self._robot = robot
        self._limiter = EffortLimiter(robot)
        self._lead = MotorLead(robot, speed_up)
        self._reach = reach(robot)
        self.reset()

    def reset(self) -> None:
        self._limiter.reset()
        self._motors = MotorModel(self._robot, self._robot.hover_thrust)
        self._mean = self._robot.hover_thrust
        self._acting: Array | None = None
        self._now_s: float | None = None
        self.elapsed_s, self._waiting = self._robot.control_period_s, False
        self._short = np.zeros(4, bool)
        self._lift, self._yaw_reserve = 1.0, 0.0

    def at(self, time: float) -> None:
        """Set the time [s] of the next command: the motors have followed the last one until now."""
        self._limiter.at(time)
        if self._now_s is not None:
            self._elapse(min(max(time - self._now_s, 0.0), LONGEST_S))
        self._now_s = time

    def _elapse(self, duration_s: float) -> None:
        self.elapsed_s, self._waiting = duration_s, False
        if duration_s > 0.0 and self._acting is not None:
            self._mean = self._motors.advance(self._acting, duration_s)

    def seen(self, attitude: Array, rate: Array) -> None:
        """Set the present attitude (4,), for a time without a state, and body rates (3,).

        The faster it spins about body z, the more thrust gives way to yaw torque. Otherwise a weak rotor at its limit
        would spin the quadrotor up until it is uncontrollable.
        """
        self._lift = lift_share(attitude)
        beyond = abs(float(rate[2])) / (FAST_SPIN * float(self._robot.velocity_limit[5])) - 1.0
        self._yaw_reserve = YAW_RESERVE * min(max(beyond, 0.0), 1.0)

    @property
    def short(self) -> NDArray[np.bool_]:
        """Whether (4,) the last collective thrust, roll, pitch and yaw torque exceeded the rotors' limits.

        Integrals stop on these axes.
        """
        return self._short

    @property
    def thrusts(self) -> Array:
        """Mean thrusts (n,) [N] by the motor model between the last command and the time before it."""
        return self._mean

    def follow(self, effort: Array) -> None:
        """Record that this effort (n,) acted instead of the last command; see BumplessTransfer."""
        self._acting = effort

    def send(self, collective: float, torque: Array) -> Command:
        """Return the command for a collective thrust [N] and a torque (3,) [Nm; body]."""
        if self._waiting:  # no time was set: a control period has passed
            self._elapse(self._robot.control_period_s)
        thrusts = self._robot.thrusts(collective, torque, self._yaw_reserve)
        self._short = np.abs(self._robot.allocation @ thrusts - np.array([collective, *torque])) > _SHORT * self._reach
        return Command(self._issue(self._lead.command(thrusts, self._motors.speeds)))

    def level(self, message: str) -> Command:
        """Command without a usable state or reference: zero torque, and about the thrust of the last command.

        Of this thrust only the share that lifts at the last known attitude: none upside down.
        """
        weight = self._robot.mass_kg * GRAVITY_M_S2
        last = weight if self._limiter.last is None else self._robot.collective(self._limiter.last)
        collective = self._lift * float(np.clip(last, _LEVEL_SHARE[0] * weight, _LEVEL_SHARE[1] * weight))
        thrusts = self._robot.thrusts(collective, np.zeros(3))
        return Command(self._issue(thrusts), Status.FAILED, f"{message}: thrust without torque")

    def _issue(self, thrusts: Array) -> Array:
        self._acting, self._waiting = self._limiter.apply(thrusts), True
        return self._acting.copy()


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
