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
from pydantic import Field

from metarl_robot.control.base import ControllerSpec
from metarl_robot.control.low_pass import LowPass
from metarl_robot.core import rotation
from metarl_robot.core.signals import State
from metarl_robot.robots.quadrotor.attitude import tilt_and_yaw_error
from metarl_robot.robots.quadrotor.cascade import Cascade, CascadeConfig
from metarl_robot.robots.quadrotor.description import GRAVITY_M_S2, Quadrotor
from metarl_robot.robots.quadrotor.flatness import attitude
from metarl_robot.robots.quadrotor.position_loop import Target
from metarl_robot.robots.quadrotor.state_consistency import ConsistentState

Array = NDArray[np.float64]

REMEMBERED = 64
"""Number of intervals for which thrusts are kept."""
_GRAVITY = np.array([0.0, 0.0, GRAVITY_M_S2])


class INDIConfig(CascadeConfig):
    """Gains in units of 1 / lag, the same for every size of robot."""

    position: float = Field(0.08, ge=0.0, le=1.0, description="position gain [1/lag]")
    filter: float = Field(
        1.5, gt=0.0, le=10.0, description="cut-off of the filter of measurements and commands [1/lag]"
    )


class INDI(Cascade):
    """See the module's docstring."""

    def __init__(self, robot: Quadrotor, config: INDIConfig) -> None:
        super().__init__(robot, config)
        self._cutoff = config.filter / self._lag
        self._latency_s = config.latency_s - 0.5 * robot.control_period_s  # half a period: the nearest command
        self.reset()

    def reset(self) -> None:
        super().reset()
        self._push, self._rate, self._torques, self._velocity = (LowPass(self._cutoff) for _ in range(4))
        self._sent: deque[tuple[float, Array]] = deque([(-np.inf, self._robot.hover_thrust)], maxlen=REMEMBERED)
        self._torque_f = self._change = np.zeros(3)

    def _push_at(self, time: float, q: Array, state: State) -> Array:
        """Also filter torques and rates: each state counts, whether or not it is used."""
        dt = self._rotors.elapsed_s
        self._sent.append((time, self._rotors.thrusts))
        wrench = self._robot.allocation @ self._acting(time)
        self._torque_f, _ = self._torques.step(wrench[1:], dt)
        _, self._change = self._rate.step(state.v[3:], dt)
        return self._outside(q, state, float(wrench[0]), dt)

    def _torque(self, q: Array, rate: Array, target: Target) -> Array:
        wanted = self._angular_acceleration(q, rate, target)
        return np.asarray(self._torque_f + self._robot.inertia @ (wanted - self._change))

    def _acting(self, time: float) -> Array:
        """Thrusts (n,) that acted when the state was measured: those `latency_s` ago."""
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
