# SPDX-License-Identifier: Apache-2.0
"""Conversion of efforts to speeds behind the gate, for a driver that takes speeds.

A driver's proportional-integral speed loop accelerates the vehicle, without resistance, by

    a = (s* - s) / τ + I,    İ = (s* - s) / (τ T)

towards a commanded speed s*, with s the measured one. This is inverted: s* = s + τ (a - I) makes the driver produce the
acceleration a of an effort. The effort then acts as the controller planned it, within the estimated friction, and the
adapter observes the resistances. Our copy of I decays with the time constant FORGET_S, so that a small difference
between the driver's speed and the odometry's does not accumulate.

A vehicle with a steered axle has one loop, of its forward speed. A skid-steered one has a loop on each side: they are
loops of the forward speed and of the yaw rate, which is the difference of the sides' speeds over their separation.

Commands are (speed [m/s], steering [rad]) or a twist (speed [m/s], yaw rate [rad/s]). The yaw rate of a vehicle with a
steered axle is speed tan(steering) / wheelbase, so that a twist with speed zero cannot transmit steering.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from metarl_robot.core.errors import RobotError, SignalError
from metarl_robot.core.signals import State
from metarl_robot.robots.ground.description import Ground
from metarl_robot.robots.ground.heading import forward_speed

Array = NDArray[np.float64]

SPEED_STEERING, TWIST = "speed_steering", "twist"
COLUMNS = {SPEED_STEERING: ("speed_m_s", "steering_rad"), TWIST: ("speed_m_s", "yaw_rate_rad_s")}
"""The forms of commands, with their two numbers."""
FORGET_S = 3.0


class DriverLoop(BaseModel):
    """The driver's speed loop."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    speed_loop_s: float = Field(
        0.1, ge=0.005, le=2.0, description="time constant of the driver's speed loop without its integral [s]"
    )
    speed_integral_s: float = Field(
        0.5, ge=0.01, le=1e6, description="integral time of the driver's speed loop [s]; large: no integral"
    )
    separation_ratio: float = Field(
        1.0, ge=0.2, le=5.0, description="skid steering: the driver's wheel separation over the real one"
    )


class SpeedCommands:
    """Makes the commands of one vehicle; see the module's docstring.

    Arguments:
        form: a key of COLUMNS.
        loop: the driver's speed loop.
        standstill_m_s: while stopping, the commanded speed is zero below this speed [m/s].

    Raises:
        RobotError: a vehicle with skid steering has no steering angle to send.
    """

    def __init__(self, robot: Ground, form: str, loop: DriverLoop, standstill_m_s: float = 0.05) -> None:
        if form == SPEED_STEERING and not robot.is_steered:
            raise RobotError(f"commands: '{form}' needs a steered axle; {robot.name} has none, and takes '{TWIST}'")
        self._robot, self._form, self._loop, self._standstill_m_s = robot, form, loop, standstill_m_s
        self._accelerations = loop_accelerations(robot, loop)
        turn = robot.effort_limit[0] if form == SPEED_STEERING else robot.velocity_limit[2]
        self._limit = np.array([robot.velocity_limit[0], turn])
        self.reset()

    def reset(self) -> None:
        """Forget the driver's integrals and the last command."""
        self._integrals, self._last = np.zeros(2), np.zeros(2)

    def command(self, state: State, effort: Array, dt_s: float, stopping: bool = False) -> Array:
        """The command (2,) for an effort (nu,) at a measured state, dt_s after the last one.

        stopping: the gate is stopping the vehicle. Speeds then neither grow nor change sign, and at standstill they are
            zero: the driver holds the vehicle, and noise of the odometry does not move it.

        Raises:
            SignalError: an effort of a wrong size or that is not finite.
        """
        robot, loop = self._robot, self._loop
        if effort.shape != (robot.nu,) or not np.isfinite(effort).all():
            raise SignalError(f"needs {robot.nu} finite efforts; given {effort[:20].tolist()}")
        effort = np.clip(effort, robot.effort_lower, robot.effort_limit)
        now = np.array([forward_speed(state), state.v[2]])
        wanted = now + loop.speed_loop_s * (self._accelerations @ effort - self._integrals)
        if stopping:
            slow = float(np.hypot(*state.v[:2])) < self._standstill_m_s
            wanted = np.zeros(2) if slow else np.clip(wanted, np.minimum(now, 0.0), np.maximum(now, 0.0))
        wanted = np.clip(wanted, -robot.velocity_limit[[0, 2]], robot.velocity_limit[[0, 2]])
        self._integrals = np.exp(-dt_s / FORGET_S) * self._integrals
        self._integrals += dt_s * (wanted - now) / (loop.speed_loop_s * loop.speed_integral_s)
        self._last = np.clip(np.array([wanted[0], self._turn(wanted, effort)]), -self._limit, self._limit)
        return self._last

    def stop(self, deceleration_m_s2: float, dt_s: float) -> Array:
        """The command (2,) that follows the last one without a usable state or effort: the speed falls to zero.

        A yaw rate falls in proportion, so that the path keeps its curvature; a steering angle stays.
        """
        speed = abs(self._last[0])
        left = max(speed - deceleration_m_s2 * dt_s, 0.0) / speed if speed > 0.0 else 0.0
        self._last = self._last * np.array([left, 1.0 if self._form == SPEED_STEERING else left])
        self._integrals = np.zeros(2)
        return self._last

    def _turn(self, wanted: Array, effort: Array) -> float:
        """Steering angle [rad] or yaw rate [rad/s] beside a forward speed and a yaw rate (2,)."""
        if self._form == SPEED_STEERING:
            return float(effort[0])
        robot = self._robot
        return float(wanted[0] * np.tan(effort[0]) / robot.wheelbase_m if robot.is_steered else wanted[1])


def loop_accelerations(robot: Ground, loop: DriverLoop) -> Array:
    """Matrix (2, nu): accelerations of the loops' forward speed [m/s²] and yaw rate [rad/s²] by efforts.

    They are those of the nominal mass on wheels without resistance. With a steered axle, the second row is zero.
    """
    torque = robot.wheel_radius_m * (robot.mass_kg + robot.rolling_mass_kg)  # for 1 m/s²
    if robot.is_steered:
        return np.array([[0.0, 1.0 / torque], [0.0, 0.0]])
    side, separation = 0.5 * torque, loop.separation_ratio * robot.track_m
    return np.array([[0.5 / side, 0.5 / side], [-1.0 / (side * separation), 1.0 / (side * separation)]])
