# SPDX-License-Identifier: Apache-2.0
"""Fallback law of a ground vehicle: brake straight within an assumed friction, then hold the position.

    F = -m d v / max(|v|, v_s) - m k e,    ė = v while |v| < v_s

v is the forward speed, d the deceleration, e the distance rolled at speeds below v_s. On a slope the integral e holds
the vehicle. The steered wheels, or the torques of both sides, counteract the yaw rate.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from metarl_robot.core.signals import Inertial, State
from metarl_robot.robots.ground.description import GRAVITY_M_S2, Ground
from metarl_robot.robots.ground.heading import forward_speed
from metarl_robot.safety.fallback_law import Danger, GateConfig

Array = NDArray[np.float64]

SLOW = 4.0
"""v_s as a multiple of the standstill speed."""


class BrakeStraightConfig(GateConfig):
    """Settings of the law."""

    standstill_m_s: float = Field(0.05, ge=0.001, le=1.0, description="speed below which the vehicle stands [m/s]")
    brake_grip: float = Field(
        0.25, ge=0.01, le=1.0, description="friction that braking may use; less than that of the worst ground expected"
    )
    hold_stiffness_1_s2: float = Field(10.0, ge=0.0, le=1e3, description="gain of the distance rolled at rest [1/s^2]")
    straighten: float = Field(0.15, ge=0.0, le=5.0, description="steering by yaw rate [rad per rad/s]")


class BrakeStraight:
    """See the module's docstring.

    Without states the torque is zero after the time that braking would take.
    """

    config = BrakeStraightConfig

    def __init__(self, robot: Ground, config: BrakeStraightConfig) -> None:
        self._robot = robot
        self._speed, self._rolled_m, self._stopping = 0.0, 0.0, False
        self.configure(config)

    def configure(self, config: BrakeStraightConfig) -> None:
        self._config = config
        self._deceleration, self._slow_m_s = config.brake_grip * GRAVITY_M_S2, SLOW * config.standstill_m_s

    @property
    def start_effort(self) -> Array:
        return np.zeros(self._robot.nu)

    @property
    def off(self) -> bool:
        return False

    @property
    def static_effort(self) -> Array:
        return self._efforts(-self._config.hold_stiffness_1_s2 * self._rolled_m, 0.0)

    def passed(self, effort: Array, state: State | None, dt_s: float) -> None:
        if state is not None:
            self._speed = forward_speed(state)

    def begin(self, state: State) -> None:
        self._stopping, self._speed = True, forward_speed(state)
        self._rolled_m = 0.0

    def effort(self, state: State, dt_s: float) -> Array:
        self._speed = forward_speed(state)
        slow = abs(self._speed) < self._slow_m_s
        self._rolled_m = self._rolled_m + self._speed * dt_s if slow else 0.0
        braking = -self._deceleration * self._speed / max(abs(self._speed), self._slow_m_s)
        return self._efforts(braking - self._config.hold_stiffness_1_s2 * self._rolled_m, float(state.v[2]))

    def blind_effort(self, inertial: Inertial | None, dt_s: float) -> Array:
        rate = 0.0 if inertial is None else float(inertial.rate[2])
        change = min(self._deceleration * dt_s, abs(self._speed))
        braking = -np.sign(self._speed) * self._deceleration if change > 0.0 else 0.0
        self._speed -= float(np.sign(self._speed)) * change
        return self._efforts(float(braking), rate)

    def at_rest(self, state: State) -> bool:
        return self._stopping and float(np.linalg.norm(state.v[:2])) < self._config.standstill_m_s

    def release(self) -> None:
        self._stopping = False

    def danger(self, state: State) -> Danger | None:
        speed, rate = float(np.hypot(state.v[0], state.v[1])), abs(float(state.v[2]))
        fastest, _, fastest_turn = self._robot.velocity_limit
        for verb, value, limit, unit in (("moves", speed, fastest, "m/s"), ("turns", rate, fastest_turn, "rad/s")):
            if value > self._config.overspeed_ratio * limit:
                return Danger("overspeed", f"{verb} at {value:.3g} {unit} (limit {limit:g} {unit})")
        return None

    def _efforts(self, acceleration: float, yaw_rate: float) -> Array:
        """Efforts (nu,) for an acceleration [m/s²], against a yaw rate [rad/s]."""
        robot, gain = self._robot, self._config.straighten
        torque = acceleration * robot.mass_kg * robot.wheel_radius_m
        if robot.is_steered:
            return np.array([-gain * yaw_rate * float(np.sign(self._speed) or 1.0), torque])
        turning = gain * yaw_rate * robot.effort_limit[0]
        return np.array([0.5 * torque + turning, 0.5 * torque - turning])
