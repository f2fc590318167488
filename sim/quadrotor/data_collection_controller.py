# SPDX-License-Identifier: Apache-2.0
"""The data-collection controller of quadrotors: a geometric controller with random gains.

    f = m (a_ref + kp (p_ref - p_m) + kd (v_ref - v_m) - g)
        collective thrust f · z_b; desired z_b along f; heading of the reference
    torque = J (α_ref + kr e_R + kw (ω_ref - ω_m))
        e_R: rotation vector from the measured to the desired attitude

Lee, Leok, McClamroch, CDC 2010, with gains drawn for each task. Commands of slow motors lead in speed, so that the lag
falls to 20 ms. flight.c has the same law for one quadrotor.
"""

from __future__ import annotations

from copy import copy

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core import rotation
from metarl_robot.core.signals import Setpoints, State
from metarl_robot.robots.quadrotor.description import GRAVITY_M_S2, Quadrotor
from metarl_robot.robots.quadrotor.flatness import attitude as desired_attitude

Array = NDArray[np.float64]

_RATE_BANDWIDTH = (0.35, 0.6)  # times the motors' lag and typical latency
_ATTITUDE_SHARE = (0.15, 0.3)  # kr over kw^2; 1/4 is critically damped
_POSITION_SHARE = (0.25, 0.4)  # position bandwidth over that of the attitude
_POSITION_DAMPING = (0.7, 1.2)
_FASTEST_LAG_S = 0.020
_LATENCY_S = 0.015


class DataCollectionController:
    """The controller for T quadrotors, each with its own gains.

    Attributes:
        kp, kd, kr, kw: (T, 1). speeds: (T, n) rotor speeds expected by its motor model [rad/s].
        lead: factor by which commands lead. follow: (speeding up, slowing down) share of a speed gap that the motors
            close in a control period.
        inverse: (n, 4) right inverse of the allocation. slowest, fastest: (n,) rotor speeds [rad/s].
    """

    def __init__(self, robot: Quadrotor, rng: np.random.Generator, count: int) -> None:
        self._robot = robot
        lag = max(robot.motor_time_s)
        self.lead = max(1.0, lag / _FASTEST_LAG_S)
        self.follow = 1.0 - np.exp(-robot.control_period_s / np.array(robot.motor_time_s))
        self.kw = rng.uniform(*_RATE_BANDWIDTH, (count, 1)) / (lag / self.lead + _LATENCY_S)
        self.kr = rng.uniform(*_ATTITUDE_SHARE, (count, 1)) * self.kw**2
        bandwidth = rng.uniform(*_POSITION_SHARE, (count, 1)) * np.sqrt(self.kr)
        self.kp, self.kd = bandwidth**2, 2.0 * rng.uniform(*_POSITION_DAMPING, (count, 1)) * bandwidth
        self.slowest, self.fastest = robot.speeds(robot.effort_lower), robot.speeds(robot.effort_limit)
        self.inverse = robot.mixing
        self.speeds = np.tile(robot.speeds(robot.hover_thrust), (count, 1))

    def share(self, which: slice) -> DataCollectionController:
        """Return the controller of a slice of the quadrotors."""
        law = copy(self)
        for name in ("kw", "kr", "kp", "kd", "speeds"):
            setattr(law, name, getattr(self, name)[which])
        return law

    def command(self, state: State, points: Setpoints) -> Array:
        """Thrusts (T, n) [N] for states and setpoints (T, ·)."""
        robot, attitude = self._robot, state.q[:, 3:]
        pull = (
            points.a[:, :3]
            + self.kp * (points.q[:, :3] - state.q[:, :3])
            + self.kd * (points.v[:, :3] - state.v[:, :3])
        )
        pull[:, 2] = np.maximum(pull[:, 2] + GRAVITY_M_S2, 0.3 * GRAVITY_M_S2)
        collective = robot.mass_kg * (pull * rotation.up(attitude)).sum(1, keepdims=True)
        error = rotation.error(attitude, desired_attitude(pull, rotation.yaw(points.q[:, 3:])))
        turn = points.a[:, 3:] + self.kr * error + self.kw * (points.v[:, 3:] - state.v[:, 3:])
        wanted = np.concatenate([collective, turn @ robot.inertia], axis=1) @ self.inverse.T
        return self._leading(np.clip(wanted, robot.effort_lower, robot.effort_limit))

    def _leading(self, thrusts: Array) -> Array:
        """Commands that bring the rotors to these thrusts sooner than without lead."""
        robot = self._robot
        target = np.clip(self.speeds + self.lead * (robot.speeds(thrusts) - self.speeds), self.slowest, self.fastest)
        gap = target - self.speeds
        self.speeds = self.speeds + gap * np.where(gap > 0.0, *self.follow)
        return robot.thrusts_of(target)
