# SPDX-License-Identifier: Apache-2.0
"""Inner loops of the geometric controllers: from speed and curvature to commands.

Speed: a proportional-integral loop with the reference's acceleration as feedforward. Turning: the angle of the steered
wheels; with skid steering, a proportional-integral loop of the yaw rate with the torques of the wanted motion as
feedforward, most of which overcome the tyres' resistance to turning (skid_efforts.py).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from metarl_robot.control.effort_limits import EffortLimiter
from metarl_robot.core.signals import Command, Status
from metarl_robot.robots.ground.description import Ground
from metarl_robot.robots.ground.route import RouteConfig
from metarl_robot.robots.ground.skid_efforts import SkidEfforts

Array = NDArray[np.float64]


class SpeedLoopConfig(RouteConfig):
    """Gains of the inner loops."""

    speed: float = Field(4.0, ge=0.0, le=100.0, description="speed gain [1/s]")
    speed_integral: float = Field(2.0, ge=0.0, le=100.0, description="integral of the speed error [1/s^2]")
    turning: float = Field(8.0, ge=0.0, le=100.0, description="yaw rate gain of a skid-steered vehicle [1/s]")
    turning_integral: float = Field(20.0, ge=0.0, le=500.0, description="integral of its yaw rate error [1/s^2]")


class SpeedLoop:
    """See the module's docstring."""

    def __init__(self, robot: Ground, config: SpeedLoopConfig) -> None:
        self._robot, self._config = robot, config
        self._limiter = EffortLimiter(robot)
        self._skid_efforts = None if robot.is_steered else SkidEfforts(robot)
        self.reset()

    def reset(self) -> None:
        self._limiter.reset()
        self._integral = np.zeros(2)

    def at(self, time: float) -> None:
        """Set the time [s] of the next command."""
        self._limiter.at(time)

    def follow(self, effort: Array) -> None:
        """Record that this effort (nu,) acted instead of the last command; see BumplessTransfer."""
        self._limiter.reset(effort)

    def command(self, speed: tuple[float, float], acceleration: float, curvature: float, yaw_rate: float) -> Command:
        """Command for a (wanted, present) forward speed [m/s], an acceleration [m/s²] and a curvature [1/m]."""
        wanted, present = speed
        config, robot = self._config, self._robot
        fastest = robot.velocity_limit[2]
        turning = min(max(curvature * present, -fastest), fastest)
        errors = np.array([wanted - present, turning - yaw_rate])
        wish = np.array([config.speed, config.turning]) * errors + self._integral
        if self._skid_efforts is None:
            effort = self._steered(wish[0] + acceleration, curvature)
        else:
            effort = self._skidding(wish) + self._skid_efforts(np.array([[present, turning, acceleration, 0.0]]))[0]
        effort = self._limiter.apply(effort)
        free = np.all((effort > robot.effort_lower) & (effort < robot.effort_limit))
        rates = np.array([config.speed_integral, config.turning_integral])
        self._integral += free * rates * errors * self._limiter.step_s
        return Command(effort)

    def brake(self, reason: str) -> Command:
        """Command without a usable state or reference: no torque, wheels as they are."""
        last = self._limiter.last
        effort = np.zeros(self._robot.nu)
        if self._robot.is_steered and last is not None:
            effort[0] = last[0]
        return Command(self._limiter.apply(effort), Status.FAILED, f"{reason}; rolling without torque")

    def _steered(self, acceleration: float, curvature: float) -> Array:
        """Efforts (2,) for an acceleration [m/s²] and a curvature [1/m]."""
        robot = self._robot
        torque = acceleration * robot.mass_kg * robot.wheel_radius_m
        return np.array([np.arctan(robot.wheelbase_m * curvature), torque])

    def _skidding(self, wish: Array) -> Array:
        """Efforts (2,) for an acceleration [m/s²] and an angular acceleration [rad/s²] of a body without tyres."""
        robot = self._robot
        torque = wish[0] * robot.mass_kg * robot.wheel_radius_m
        turning = wish[1] * robot.yaw_inertia * robot.wheel_radius_m / robot.track_m
        return np.array([0.5 * torque - turning, 0.5 * torque + turning])
