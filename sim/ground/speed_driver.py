# SPDX-License-Identifier: Apache-2.0
"""A simulated driver that converts speed commands to the efforts of a vehicle's motors.

It represents the firmware of motor controllers below an Ackermann or differential drive controller: proportional-
integral speed loops (robots/ground/speed_commands.py). When torques saturate, the integrals stop.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metarl_robot.robots.ground.description import Ground
from metarl_robot.robots.ground.speed_commands import SPEED_STEERING, DriverLoop, loop_accelerations

Array = NDArray[np.float64]

_CRAWL_M_S = 0.02
"""A twist below this speed keeps the steering angle, because its curvature is undefined."""


class SpeedDriver:
    """See the module's docstring. form: of its commands, a key of speed_commands.COLUMNS."""

    def __init__(self, robot: Ground, form: str, loop: DriverLoop) -> None:
        self._robot, self._form, self._loop = robot, form, loop
        self._accelerations = loop_accelerations(robot, loop)
        self.reset()

    def reset(self) -> None:
        self._integrals, self._steering = np.zeros(2), 0.0

    def effort(self, command: Array, speeds: Array, dt_s: float) -> Array:
        """Efforts (nu,) for a command (2,), at a forward speed [m/s] and a yaw rate [rad/s] (2,) of the wheels."""
        robot, loop = self._robot, self._loop
        pull = (command - speeds) / loop.speed_loop_s
        wanted = self._efforts(command, pull + self._integrals)
        effort = np.clip(wanted, robot.effort_lower, robot.effort_limit)
        if np.array_equal(effort[robot.torque_channels], wanted[robot.torque_channels]):
            self._integrals = self._integrals + dt_s / loop.speed_integral_s * pull
        return np.asarray(effort)

    def _efforts(self, command: Array, accelerations: Array) -> Array:
        if not self._robot.is_steered:
            return np.asarray(np.linalg.solve(self._accelerations, accelerations), np.float64)
        if self._form == SPEED_STEERING:
            self._steering = float(command[1])
        elif abs(command[0]) > _CRAWL_M_S:
            self._steering = float(np.arctan(self._robot.wheelbase_m * command[1] / command[0]))
        return np.array([self._steering, accelerations[0] / self._accelerations[0, 1]])


def wheels_motion(robot: Ground, wheel_speeds: Array, loop: DriverLoop) -> Array:
    """Forward speed [m/s] and yaw rate [rad/s] (2,) that a driver reads from wheels' speeds (w,) [rad/s]."""
    speeds, left = robot.wheel_radius_m * wheel_speeds, robot.track.positions[:, 1] > 0.0
    sides = np.array([speeds[left].mean(), speeds[~left].mean()])
    return np.array([sides.mean(), (sides[1] - sides[0]) / (loop.separation_ratio * robot.track_m)])
