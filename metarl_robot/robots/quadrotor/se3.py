# SPDX-License-Identifier: Apache-2.0
"""Geometric tracking control on SE(3) with integrals.

Lee, Leok, McClamroch, CDC 2010; integrals: Goodarzi, Lee, Lee, ECC 2013. R is the attitude, R_d the attitude that
points body z along the wanted thrust (position_loop.py), W_d and W_d' are the reference's rates:

    e_R = ½ (R_dᵀ R - Rᵀ R_d)^∨,    e_W = W - Rᵀ R_d W_d
    torque = J (-k_R e_R - k_W e_W - k_I ∫ (e_W + c e_R) dt) + W × J W - J (W × Rᵀ R_d W_d - Rᵀ R_d W_d')

The collective thrust is the projection of the wanted thrust on body z. The law is valid for nearly every attitude,
including upside down. Commands overshoot to shorten the motors' lag (motor_lead.py). Gains are fractions of 1 / T,
with T the remaining lag of delays and motors.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from metarl_robot.control.base import ControllerSpec
from metarl_robot.core import rotation
from metarl_robot.core.signals import Command, Reference, State
from metarl_robot.robots.quadrotor.description import Quadrotor
from metarl_robot.robots.quadrotor.flatness import attitude
from metarl_robot.robots.quadrotor.motor_lead import pace
from metarl_robot.robots.quadrotor.position_loop import Gains, PositionLoop, Target
from metarl_robot.robots.quadrotor.rotors import Rotors, turning_integral_bound, usable
from metarl_robot.robots.quadrotor.state_consistency import ConsistentState
from metarl_robot.robots.quadrotor.upright_recovery import UprightRecovery

Array = NDArray[np.float64]


MOST_YAW_RAD = 0.5
"""Largest heading error that R_d contains: in a larger one, e_R mixes heading, which has little torque, with tilt."""


class SE3Config(BaseModel):
    """Gains in units of 1 / lag, the same for every size of robot."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    position: float = Field(
        0.07, ge=0.0, le=1.0, description="position gain [1/lag]; k_x / m is its product with the velocity gain"
    )
    velocity: float = Field(0.17, ge=0.0, le=1.0, description="velocity gain, k_v / m [1/lag]")
    position_integral: float = Field(
        0.04, ge=0.0, le=1.0, description="integral of velocity and position error [1/lag]; 0: Lee 2010"
    )
    vertical: float = Field(2.0, ge=0.5, le=5.0, description="ratio of vertical to horizontal gains")
    attitude: float = Field(
        0.24, ge=0.0, le=2.0, description="tilt gain [1/lag]; k_R / J is its product with the rate gain"
    )
    rate: float = Field(0.5, ge=0.0, le=2.0, description="rate gain, k_W / J [1/lag]")
    attitude_integral: float = Field(
        0.1, ge=0.0, le=1.0, description="integral of rate and attitude error [1/lag]; 0: Lee 2010"
    )
    yaw: float = Field(0.4, ge=0.0, le=1.0, description="yaw gains as a share of those of roll and pitch")
    motor_share: float = Field(
        0.85, gt=0.0, le=2.0, description="remaining lag of the motors, share of the delays' lag"
    )
    latency_s: float = Field(0.01, ge=0.0, le=0.1, description="assumed latency of command and sensors together [s]")


class SE3:
    """See the module's docstring."""

    def __init__(self, robot: Quadrotor, config: SE3Config) -> None:
        self._robot = robot
        speed_up, lag = pace(robot, config.latency_s, config.motor_share)
        axes = np.array([1.0, 1.0, config.yaw])
        self._c, self._rate_gain = config.attitude / lag * axes, config.rate / lag * axes
        self._integral_gain = config.attitude_integral / lag
        self._outer = PositionLoop(
            robot,
            Gains(config.position / lag, config.velocity / lag, config.position_integral / lag, config.vertical, lag),
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
        collective = self._robot.mass_kg * float(target.thrust @ rotation.up(q))
        return self._rotors.send(collective, self._torque(q, state.v[3:], target))

    def _torque(self, q: Array, rate: Array, target: Target) -> Array:
        """Return the torque (3,) [Nm; body]."""
        heading = float(rotation.yaw(q))
        off = (target.yaw - heading + np.pi) % (2.0 * np.pi) - np.pi
        heading += float(np.clip(off, -MOST_YAW_RAD, MOST_YAW_RAD))
        r, wanted = rotation.to_matrix(q), rotation.to_matrix(attitude(target.thrust, np.array(heading)))
        skewed = wanted.T @ r
        e_attitude = 0.5 * np.array(
            [skewed[2, 1] - skewed[1, 2], skewed[0, 2] - skewed[2, 0], skewed[1, 0] - skewed[0, 1]]
        )
        to_body = r.T @ rotation.to_matrix(target.attitude)
        ahead, change = to_body @ target.rate, to_body @ target.rate_change
        error = rate - ahead + self._c * e_attitude
        integral = self._integral + self._integral_gain * error * self._rotors.elapsed_s
        self._integral = np.where(self._rotors.short[1:], self._integral, np.clip(integral, -self._bound, self._bound))
        inertia = self._robot.inertia
        feedback = -self._rate_gain * (error + self._integral)
        return np.asarray(
            inertia @ (feedback - rotation.cross(rate, ahead) + change) + rotation.cross(rate, inertia @ rate)
        )


SPEC = ControllerSpec(SE3Config, lambda robot, config, checkpoint, oracle: ConsistentState(SE3(robot, config)))
