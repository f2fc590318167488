# SPDX-License-Identifier: Apache-2.0
"""The cascaded loops of a flight stack, well tuned: position P, velocity PI, attitude P, body rates PI with a lead.

Position and velocity: position_loop.py. Attitude and rates (the structure of PX4 and ArduPilot), with e_q from
attitude.py:

    w_c = k_a e_q + w_r,    e = w_c - w,    torque = J k_r (e + k_i ∫e dt)

In a flight stack the derivative term of the rate loop compensates the motors' lag. Here the last stage does so
(motor_lead.py), also for the collective thrust. Gains are fractions of 1 / T, with T the remaining lag of
delays and motors (motor_lead.py: pace).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from metarl_robot.control.base import ControllerSpec
from metarl_robot.core import rotation
from metarl_robot.core.signals import Command, Reference, State
from metarl_robot.robots.quadrotor.attitude import tilt_and_yaw_error
from metarl_robot.robots.quadrotor.description import Quadrotor
from metarl_robot.robots.quadrotor.flatness import attitude
from metarl_robot.robots.quadrotor.motor_lead import pace
from metarl_robot.robots.quadrotor.position_loop import Gains, PositionLoop, Target
from metarl_robot.robots.quadrotor.rotors import Rotors, turning_integral_bound, usable
from metarl_robot.robots.quadrotor.state_consistency import ConsistentState
from metarl_robot.robots.quadrotor.upright_recovery import UprightRecovery

Array = NDArray[np.float64]


class FlightPIDConfig(BaseModel):
    """Gains in units of 1 / lag, the same for every size of robot."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    position: float = Field(0.07, ge=0.0, le=1.0, description="position gain [1/lag]")
    velocity: float = Field(0.17, ge=0.0, le=1.0, description="velocity gain [1/lag]")
    velocity_integral: float = Field(0.04, ge=0.0, le=1.0, description="integral of the velocity error [1/lag]")
    vertical: float = Field(2.0, ge=0.5, le=5.0, description="ratio of vertical to horizontal gains")
    attitude: float = Field(0.24, ge=0.0, le=2.0, description="tilt gain [1/lag]")
    rate: float = Field(0.5, ge=0.0, le=2.0, description="roll and pitch rate gain [1/lag]")
    rate_integral: float = Field(0.1, ge=0.0, le=1.0, description="integral of the rate error [1/lag]")
    yaw: float = Field(0.4, ge=0.0, le=1.0, description="yaw gains as a share of those of roll and pitch")
    motor_share: float = Field(
        0.85, gt=0.0, le=2.0, description="remaining lag of the motors, share of the delays' lag"
    )
    latency_s: float = Field(0.01, ge=0.0, le=0.1, description="assumed latency of command and sensors together [s]")


class FlightPID:
    """See the module's docstring."""

    def __init__(self, robot: Quadrotor, config: FlightPIDConfig) -> None:
        self._robot, self._config = robot, config
        speed_up, lag = pace(robot, config.latency_s, config.motor_share)
        axes = np.array([1.0, 1.0, config.yaw])
        self._attitude_gain, self._rate_gain = config.attitude / lag * axes, config.rate / lag * axes
        self._integral_gain = config.rate_integral / lag
        ahead_s = lag / config.rate + config.latency_s
        self._outer = PositionLoop(
            robot,
            Gains(
                config.position / lag, config.velocity / lag, config.velocity_integral / lag, config.vertical, ahead_s
            ),
        )
        self._rotors = Rotors(robot, speed_up)
        self._recovery = UprightRecovery(robot, lag)
        self._bound = turning_integral_bound(robot) / self._rate_gain
        self.reset()

    def reset(self) -> None:
        self._outer.reset()
        self._rotors.reset()
        self._recovery.reset()
        self._integral = np.zeros(3)

    def fallback(self, time: float, reason: str) -> Command:
        """Command without a valid state: zero torque, and about the thrust of the last command."""
        self._rotors.at(time)
        return self._rotors.level(reason)

    def follow(self, effort: Array) -> None:
        """Record that this effort (4,) acted instead of the last command; see BumplessTransfer."""
        self._rotors.follow(effort)

    def step(self, time: float, state: State, reference: Reference) -> Command:
        self._rotors.at(time)
        if not usable(state):
            return self._rotors.level("the state is not finite")
        self._rotors.seen(rotation.normalise(state.q[3:]), state.v[3:])
        recovery = self._recovery.along(time, state, reference)
        if recovery is not None:
            return self._rotors.send(*recovery)
        target = self._outer.step(time, state, reference, self._rotors.elapsed_s)
        if target is None:
            return self._rotors.level("the reference is not finite")
        q = rotation.normalise(state.q[3:])
        wanted = self._rates(q, target)
        torque = self._robot.inertia @ self._rate_loop(wanted - state.v[3:])
        collective = self._robot.mass_kg * float(target.thrust @ rotation.up(q))
        return self._rotors.send(collective, torque)

    def _rates(self, q: Array, target: Target) -> Array:
        """Wanted body rates w_c (3,)."""
        error = tilt_and_yaw_error(q, attitude(target.thrust, np.array(target.yaw)))
        ahead = rotation.rotate_back(q, rotation.rotate(target.attitude, target.rate))
        limit = self._robot.velocity_limit[3:]
        return np.clip(self._attitude_gain * error + ahead, -limit, limit)

    def _rate_loop(self, error: Array) -> Array:
        """Wanted angular acceleration (3,)."""
        integral = self._integral + self._integral_gain * error * self._rotors.elapsed_s
        self._integral = np.where(self._rotors.short[1:], self._integral, np.clip(integral, -self._bound, self._bound))
        return np.asarray(self._rate_gain * (error + self._integral))


SPEC = ControllerSpec(
    FlightPIDConfig, lambda robot, config, checkpoint, oracle: ConsistentState(FlightPID(robot, config))
)
