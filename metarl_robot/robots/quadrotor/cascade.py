# SPDX-License-Identifier: Apache-2.0
"""The frame of the quadrotors' cascaded controllers: position loop, then a torque, then the rotors.

A controller defines the torque (`_torque`). Upside down it yields to the recovery (upright_recovery.py). Gains are
fractions of 1 / T, with T the remaining lag of delays and motors (motor_lead.py: pace).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from metarl_robot.core import rotation
from metarl_robot.core.signals import Command, Reference, State
from metarl_robot.robots.quadrotor.description import Quadrotor
from metarl_robot.robots.quadrotor.motor_lead import pace
from metarl_robot.robots.quadrotor.position_loop import Gains, PositionLoop, Target
from metarl_robot.robots.quadrotor.rotors import Rotors, turning_integral_bound, usable
from metarl_robot.robots.quadrotor.upright_recovery import UprightRecovery

Array = NDArray[np.float64]


class CascadeConfig(BaseModel):
    """Gains in units of 1 / lag, the same for every size of robot."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    position: float = Field(0.07, ge=0.0, le=1.0, description="position gain [1/lag]")
    velocity: float = Field(0.17, ge=0.0, le=1.0, description="velocity gain [1/lag]")
    vertical: float = Field(2.0, ge=0.5, le=5.0, description="ratio of vertical to horizontal gains")
    attitude: float = Field(0.24, ge=0.0, le=2.0, description="tilt gain [1/lag]")
    rate: float = Field(0.5, ge=0.0, le=2.0, description="roll and pitch rate gain [1/lag]")
    yaw: float = Field(0.4, ge=0.0, le=1.0, description="yaw gains as a share of those of roll and pitch")
    motor_share: float = Field(
        0.85, gt=0.0, le=2.0, description="remaining lag of the motors, share of the delays' lag"
    )
    latency_s: float = Field(0.01, ge=0.0, le=0.1, description="assumed latency of command and sensors together [s]")


class Cascade:
    """See the module's docstring.

    Arguments:
        robot: the quadrotor.
        config: gains.
        integral: gain of the position loop's integral [1/lag].
        turning_s: time in which a change of attitude takes effect [s]; None: the lag.
    """

    def __init__(
        self, robot: Quadrotor, config: CascadeConfig, integral: float = 0.0, turning_s: float | None = None
    ) -> None:
        self._robot = robot
        speed_up, self._lag = pace(robot, config.latency_s, config.motor_share)
        axes = np.array([1.0, 1.0, config.yaw])
        self._attitude_gain, self._rate_gain = config.attitude / self._lag * axes, config.rate / self._lag * axes
        position, velocity, integral = (gain / self._lag for gain in (config.position, config.velocity, integral))
        ahead_s = self._lag if turning_s is None else turning_s
        self._outer = PositionLoop(robot, Gains(position, velocity, integral, config.vertical, ahead_s))
        self._rotors = Rotors(robot, speed_up)
        self._recovery = UprightRecovery(robot, self._lag)

    def reset(self) -> None:
        self._outer.reset()
        self._rotors.reset()
        self._recovery.reset()

    def fallback(self, time: float, reason: str) -> Command:
        """Command without a valid state: zero torque, and about the thrust of the last command."""
        self._rotors.at(time)
        return self._rotors.level(reason)

    def follow(self, effort: Array) -> None:
        """Record that this effort (n,) acted instead of the last command; see BumplessTransfer."""
        self._rotors.follow(effort)

    def step(self, time: float, state: State, reference: Reference) -> Command:
        self._rotors.at(time)
        if not usable(state):
            return self._rotors.level("the state is not finite")
        q = rotation.normalise(state.q[3:])
        self._rotors.seen(q, state.v[3:])
        push = self._push_at(time, q, state)
        recovery = self._recovery.along(time, state, reference)
        if recovery is not None:
            return self._rotors.send(*recovery)
        target = self._outer.step(time, state, reference, self._rotors.elapsed_s, push)
        if target is None:
            return self._rotors.level("the reference is not finite")
        collective = self._robot.mass_kg * float(target.thrust @ rotation.up(q))
        return self._rotors.send(collective, self._torque(q, state.v[3:], target))

    def _push_at(self, time: float, q: Array, state: State) -> Array | None:
        """Known external acceleration (3,) [m/s²; world] at a state; None: none is measured."""
        return None

    def _torque(self, q: Array, rate: Array, target: Target) -> Array:
        """Torque (3,) [Nm; body] at an attitude (4,) and body rates (3,)."""
        raise NotImplementedError


class TurningIntegral:
    """Integral (3,) of a rate error, bounded; an axis without torque left stops [rad/s].

    Arguments:
        robot: the quadrotor.
        rotors: its rotors' stage.
        gain: of the integral [1/s].
        rate_gain: (3,) gains that act on the integral [1/s].
    """

    def __init__(self, robot: Quadrotor, rotors: Rotors, gain: float, rate_gain: Array) -> None:
        self._rotors, self._gain = rotors, gain
        self._bound = turning_integral_bound(robot) / rate_gain
        self.reset()

    def reset(self) -> None:
        self._value = np.zeros(3)

    def add(self, error: Array) -> Array:
        """Add an error (3,) over the time since the last step, and return the integral."""
        value = self._value + self._gain * error * self._rotors.elapsed_s
        self._value = np.where(self._rotors.short[1:], self._value, np.clip(value, -self._bound, self._bound))
        return self._value
