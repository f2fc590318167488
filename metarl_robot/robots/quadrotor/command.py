# SPDX-License-Identifier: Apache-2.0
"""Commands in other units: rotor speeds, or collective thrust and body rates for an autopilot's rate loop.

An autopilot's rate loop turns rates into torque, approximately as ẇ = (w_c - w) / t with a time constant t. The rates
that give the angular acceleration of a command are w_c = w + t ẇ, with ẇ from the commanded torque. With a plan, they
are the planned rates t ahead.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core import rotation
from metarl_robot.core.signals import Command, State
from metarl_robot.robots.quadrotor.description import Quadrotor

Array = NDArray[np.float64]


class RateCommand(NamedTuple):
    """Collective thrust [N] and body rates (3,) [rad/s; body], within the robot's limits."""

    collective_n: float
    rates: Array


def rotor_speeds(robot: Quadrotor, command: Command) -> Array:
    """Return (n,) rotor speeds [rad/s] of the commanded thrusts."""
    return robot.speeds(command.effort)


def collective_and_rates(
    robot: Quadrotor, time: float, state: State, command: Command, time_constant_s: float
) -> RateCommand:
    """Return the command for an autopilot's rate loop with the given time constant.

    `time` and `state` are those from which the command was computed.
    """
    if command.plan is not None:
        rates = _interpolated(command.plan.times, command.plan.v[:, 3:], time + time_constant_s)
    else:
        rate, torque = state.v[3:], robot.allocation[1:] @ command.effort
        change = np.linalg.solve(robot.inertia, torque - rotation.cross(rate, robot.inertia @ rate))
        rates = rate + time_constant_s * change
    limit = robot.velocity_limit[3:]
    return RateCommand(robot.collective(command.effort), np.clip(np.nan_to_num(rates), -limit, limit))


def _interpolated(times: Array, values: Array, time: float) -> Array:
    """Interpolate to (n,) at a time; held constant beyond the ends."""
    return np.array([np.interp(time, times, column) for column in values.T])
