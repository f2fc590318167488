# SPDX-License-Identifier: Apache-2.0
"""Setpoints of an autopilot's rate loop from rotor thrusts: normalised thrust and body rates."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.signals import Command, State
from metarl_robot.robots.quadrotor.autopilot.motion import Motion
from metarl_robot.robots.quadrotor.autopilot.thrust_curve import ThrustCurve
from metarl_robot.robots.quadrotor.command import collective_and_rates
from metarl_robot.robots.quadrotor.description import Quadrotor

Array = NDArray[np.float64]


class RateSetpoint(NamedTuple):
    """Normalised collective thrust in [0, 1] and body rates (3,) [rad/s; FLU].

    motion: to which they lead, for an autopilot that takes full states. attitude: wxyz (4,) [FLU→ENU] towards which its
    attitude loop commands them, for one that takes attitudes.
    """

    thrust: float
    rates: Array
    motion: Motion | None = None
    attitude: Array | None = None


def rate_loop_s(robot: Quadrotor) -> float:
    """A rate loop's time constant to expect of an autopilot [s]: slower than the motors that it acts through."""
    return 0.02 + 2.0 * max(robot.motor_time_s)


def rate_setpoint(
    robot: Quadrotor, curve: ThrustCurve, state: State, thrusts: Array, time_constant_s: float
) -> RateSetpoint:
    """The setpoint for rotor thrusts (4,) [N] that answer a state.

    Arguments:
        curve: turns the collective thrust into a normalised one.
        state: the measured state that the thrusts answer; its rates are used.
        time_constant_s: of the autopilot's rate loop (command.py).
    """
    command = collective_and_rates(robot, 0.0, state, Command(thrusts), time_constant_s)
    return RateSetpoint(curve.normalised(command.collective_n), command.rates)
