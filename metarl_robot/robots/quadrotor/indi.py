# SPDX-License-Identifier: Apache-2.0
"""Incremental nonlinear dynamic inversion: Smeur, Chu, de Croon, J. Guidance 2016; Tal, Karaman, CDC 2018.

Measurements replace a model of external forces. ( )_f is one low-pass filter for all signals, f the measured specific
force, W the gyro's rates. u and torque are those that a motor model gives for the commands sent `latency_s` ago:

    thrust per mass    a_c + g e_z - (R f - R e_z u / m)_f
    torque             torque_f + J (W'_c - W'_f),     W'_c = k_r (k_a e_q + W_r - W) + W'_r

a_c is the wanted acceleration (position_loop.py, without integral). External forces and torques, including payloads and
weak rotors, are compensated as soon as they are measured. The filter gives W'_f as its own derivative, so both sides of
an increment lag equally. Commands overshoot to shorten the motors' lag (motor_lead.py). Without an accelerometer the
derivative of the filtered velocity replaces f.
"""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from metarl_robot.control.base import ControllerSpec
from metarl_robot.control.low_pass import LowPass
from metarl_robot.core import rotation
from metarl_robot.core.signals import Command, Reference, State
from metarl_robot.robots.quadrotor.attitude import tilt_and_yaw_error
from metarl_robot.robots.quadrotor.description import GRAVITY_M_S2, Quadrotor
from metarl_robot.robots.quadrotor.flatness import attitude
from metarl_robot.robots.quadrotor.motor_lead import pace
from metarl_robot.robots.quadrotor.position_loop import Gains, PositionLoop, Target
from metarl_robot.robots.quadrotor.rotors import Rotors, usable
from metarl_robot.robots.quadrotor.state_consistency import ConsistentState
from metarl_robot.robots.quadrotor.upright_recovery import UprightRecovery

Array = NDArray[np.float64]

REMEMBERED = 64
"""Number of intervals for which thrusts are kept."""
_GRAVITY = np.array([0.0, 0.0, GRAVITY_M_S2])


class INDIConfig(BaseModel):
    """Gains in units of 1 / lag, the same for every size of robot."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    position: float = Field(0.08, ge=0.0, le=1.0, description="position gain [1/lag]")
    velocity: float = Field(0.17, ge=0.0, le=1.0, description="velocity gain [1/lag]")
    vertical: float = Field(2.0, ge=0.5, le=5.0, description="ratio of vertical to horizontal gains")
    attitude: float = Field(0.24, ge=0.0, le=2.0, description="tilt gain [1/lag]")
    rate: float = Field(0.5, ge=0.0, le=2.0, description="rate gain [1/lag]")
    yaw: float = Field(0.4, ge=0.0, le=1.0, description="yaw gains as a share of those of roll and pitch")
    filter: float = Field(
        1.5, gt=0.0, le=10.0, description="cut-off of the filter of measurements and commands [1/lag]"
    )
    motor_share: float = Field(
        0.85, gt=0.0, le=2.0, description="remaining lag of the motors, share of the delays' lag"
    )
    latency_s: float = Field(0.01, ge=0.0, le=0.1, description="assumed latency of command and sensors together [s]")


class INDI:
    """See the module's docstring."""

    def __init__(self, robot: Quadrotor, config: INDIConfig) -> None:
        self._robot = robot
        speed_up, lag = pace(robot, config.latency_s, config.motor_share)
        axes = np.array([1.0, 1.0, config.yaw])
        self._attitude_gain, self._rate_gain = config.attitude / lag * axes, config.rate / lag * axes
        self._outer = PositionLoop(
            robot, Gains(config.position / lag, config.velocity / lag, 0.0, config.vertical, lag)
        )
        self._rotors = Rotors(robot, speed_up)
        self._recovery = UprightRecovery(robot, lag)
        self._cutoff = config.filter / lag
        self._latency_s = config.latency_s - 0.5 * robot.control_period_s  # half a period: the nearest command
        self.reset()

    def reset(self) -> None:
        self._outer.reset()
        self._rotors.reset()
        self._recovery.reset()
        self._push, self._rate, self._torque, self._velocity = (LowPass(self._cutoff) for _ in range(4))
        self._sent: deque[tuple[float, Array]] = deque([(-np.inf, self._robot.hover_thrust)], maxlen=REMEMBERED)

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
        q = rotation.normalise(state.q[3:])
        self._rotors.seen(q, state.v[3:])
        dt = self._rotors.elapsed_s
        self._sent.append((time, self._rotors.thrusts))
        wrench = self._robot.allocation @ self._acting(time)
        outside = self._outside(q, state, float(wrench[0]), dt)
        torque, _ = self._torque.step(wrench[1:], dt)
        _, change = self._rate.step(state.v[3:], dt)
        recovery = self._recovery.along(time, state, reference)
        if recovery is not None:
            return self._rotors.send(*recovery)
        target = self._outer.step(time, state, reference, dt, outside)
        if target is None:
            return self._rotors.level("the reference is not finite")
        wanted = self._angular_acceleration(q, state.v[3:], target)
        collective = self._robot.mass_kg * float(target.thrust @ rotation.up(q))
        return self._rotors.send(collective, torque + self._robot.inertia @ (wanted - change))

    def _acting(self, time: float) -> Array:
        """Thrusts (4,) that acted when the state was measured: those `latency_s` ago."""
        return next(
            (thrusts for end, thrusts in reversed(self._sent) if end <= time - self._latency_s), self._sent[0][1]
        )

    def _outside(self, q: Array, state: State, collective: float, dt: float) -> Array:
        """Filtered acceleration (3,) that does not come from the rotors [m/s^2; world]."""
        _, acceleration = self._velocity.step(state.v[:3], dt)
        by_rotors = rotation.up(q) * (collective / self._robot.mass_kg)
        if state.specific_force is None or not np.all(np.isfinite(state.specific_force)):
            smooth, _ = self._push.step(by_rotors, dt)
            return acceleration + _GRAVITY - smooth
        push, _ = self._push.step(rotation.rotate(q, state.specific_force) - by_rotors, dt)
        return push

    def _angular_acceleration(self, q: Array, rate: Array, target: Target) -> Array:
        """Wanted angular acceleration W'_c (3,)."""
        error = tilt_and_yaw_error(q, attitude(target.thrust, np.array(target.yaw)))
        to_body = rotation.multiply(rotation.inverse(q), target.attitude)
        limit = self._robot.velocity_limit[3:]
        wanted = np.clip(self._attitude_gain * error + rotation.rotate(to_body, target.rate), -limit, limit)
        return np.asarray(self._rate_gain * (wanted - rate) + rotation.rotate(to_body, target.rate_change))


SPEC = ControllerSpec(INDIConfig, lambda robot, config, checkpoint, oracle: ConsistentState(INDI(robot, config)))
