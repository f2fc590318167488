# SPDX-License-Identifier: Apache-2.0
"""Odometry of a vehicle whose wheels slip: wheel speeds, an IMU and a localiser's poses.

Wheel odometry shows no side slip, and wheels that spin or lock show another speed. A Kalman filter holds position p
and velocity v [world], the accelerometer's bias b [body] and the acceleration s of gravity along a slope [world]. With
the specific force f and the heading ψ,

    v' = R(ψ) (f - b) - s,    p' = v

b turns with the vehicle and s does not. Measured are the localiser's positions, and the wheels' velocity with a
standard deviation that grows with the slip that tyres need at this force: in each direction SLIP |f| / g times the
speed, with the largest |f| of the last moments, because slip outlasts the force. A velocity that is further off counts
less (Huber 1964). At rest wheels do not slip, so that the bias is known before the start.

A second filter holds the heading and the gyroscope's bias, corrected by the localiser's heading.

An IMU may be slower than the odometry: its values hold for HELD_S. Without one the velocity is that of the wheels. An
IMU is implausible if it does not measure gravity, or turns otherwise than the localiser's heading.

The estimated velocity is integrated to a pose o that is smooth and drifts slowly. localisation.py extrapolates late
poses of the localiser to the present by o, as by plain odometry, and refuses those that jump.

Groves, Principles of GNSS, Inertial and Multisensor Integrated Navigation, 2013, chapter 14; Bevly et al., "Integrating
INS sensors with GPS measurements for continuous estimation of vehicle sideslip", IEEE T-ITS 7 (4), 2006.
"""

from __future__ import annotations

from math import pi

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.signals import State
from metarl_robot.robots.ground.description import GRAVITY_M_S2
from metarl_robot.robots.ground.heading import turns
from metarl_robot.robots.ground.localisation import Localisation
from metarl_robot.safety.refusals import Refusals, Rejection

Array = NDArray[np.float64]

POSITION_STD_M, YAW_STD_RAD = 0.02, 0.01
"""Of a localiser's poses."""
SPEED_STD_M_S = 0.02
SLIP = (2.0, 4.0)
"""Slip along and across the vehicle at a force of its weight, of a single sample: slip lasts many of them."""
SLIP_S = 0.2
"""Time in which slip fades after the force that caused it."""
FORCE_NOISE, RATE_NOISE = 0.03, 0.002
"""Densities of the noise of accelerometer [m/s² per √Hz] and gyroscope [rad/s per √Hz]."""
BIAS_STD_M_S2, SLOPE_STD_M_S2, GYRO_BIAS_STD_RAD_S = 0.5, 0.8, 0.05
BIAS_WALK, SLOPE_WALK, GYRO_BIAS_WALK = 0.02, 0.4, 0.001
"""Growth of their standard deviations per √s."""
LONGEST_S, HELD_S = 0.1, 0.05
"""After a longer gap the velocity is that of the wheels."""
UPWARD = (0.5 * GRAVITY_M_S2, 1.5 * GRAVITY_M_S2)
"""Range of the mean upward specific force [m/s²]."""
MOST_RATE_RAD_S = 15.0
"""Largest mean yaw rate, regardless of its sign."""
MEAN_S = 0.5
"""Time of these means."""
MOST_GYRO_BIAS_RAD_S = 0.3
_START_M_S, _USUAL = 0.2, 2.0
_P, _V, _B, _S = slice(0, 2), slice(2, 4), slice(4, 6), slice(6, 8)


class InertialOdometry:
    """See the module's docstring.

    localisation: takes the localiser's poses; is asked through this only. imu: refusals of the IMU's values.
    """

    def __init__(self, localisation: Localisation) -> None:
        self._localisation, self.imu = localisation, Refusals()
        self._restart()

    def _restart(self) -> None:
        self._time: float | None = None
        self._last: State | None = None  # as returned,
        self._here: Array = np.zeros(3)  # and o at that time
        self._tracking, self._upward, self._turning = False, GRAVITY_M_S2, 0.0
        self._slipping: Array = np.zeros(2)  # largest recent force along and across, which fades
        self._measured: tuple[float, Array, float] | None = None  # time, specific force and rate of the IMU
        self._fixes = self._jumps = 0
        self._mean, self._covariance = np.zeros(8), np.zeros((8, 8))
        self._covariance[_B, _B] = BIAS_STD_M_S2**2 * np.eye(2)
        self._covariance[_S, _S] = SLOPE_STD_M_S2**2 * np.eye(2)
        self._yaw, self._yaw_covariance = np.zeros(2), np.diag([0.0, GYRO_BIAS_STD_RAD_S**2])

    def corrected(self, time: float, state: State) -> State | None:
        """The state in the localiser's frame; None before its first pose.

        state: pose and twist of the wheels' odometry. With a specific force (3,), v[2] is the gyroscope's rate. Its
        values must be finite; ask `problem` before. The state returned has the IMU's specific force while it is used.
        """
        if self._time is not None and time < self._time - LONGEST_S:
            self._restart()
        if self._time is not None and self._last is not None and time <= self._time:
            return self._last
        dt = 0.0 if self._time is None else max(time - self._time, 0.0)
        self._time, wheels = time, turns(-state.q[2]) @ state.v
        force = self._force(time, state, wheels, dt)
        tracking = self._tracking and force is not None and 0.0 < dt <= LONGEST_S
        body = wheels
        if tracking and force is not None:
            self._predict(wheels, force, dt)
            rate = wheels[2] - self._yaw[1]
            body = np.asarray(turns(-self._yaw[0]) @ np.array([*self._mean[_V], rate]))
        self._here = self._here + dt * (turns(self._here[2] + 0.5 * dt * body[2]) @ body)
        faded = self._localisation.odometry(time, self._here)
        if faded is None:
            return None
        if not tracking or self._localisation.relocations != self._jumps:
            self._begin(faded, body)
            self._tracking = force is not None
        elif self._localisation.accepted != self._fixes:
            self._correct_pose(self._localisation.newest(self._here))
        self._fixes, self._jumps = self._localisation.accepted, self._localisation.relocations
        q, v = np.array([*self._mean[_P], self._yaw[0]]), np.array([*self._mean[_V], body[2]])
        self._last = State(q, v, force)
        return self._last

    @property
    def problem(self) -> str:
        """Why the IMU cannot be right; empty if it can."""
        low, high = UPWARD
        if not low <= self._upward <= high:
            return (
                f"IMU: the mean upward specific force is {self._upward:.1f} m/s²; allowed: {low:.1f} to {high:.1f}: is "
                "it in m/s² with gravity, and imu_rotation_wxyz right?"
            )
        if not abs(self._yaw[1]) <= MOST_GYRO_BIAS_RAD_S:
            return (
                f"IMU: the yaw rate differs from the localiser's heading by {self._yaw[1]:.2g} rad/s; allowed: "
                f"{MOST_GYRO_BIAS_RAD_S:g}: is it in rad/s, and imu_rotation_wxyz right?"
            )
        if not self._turning <= MOST_RATE_RAD_S:
            return f"IMU: the mean yaw rate is {self._turning:.0f} rad/s; allowed: {MOST_RATE_RAD_S:g}: is it in rad/s?"
        return ""

    def _force(self, time: float, state: State, wheels: Array, dt: float) -> Array | None:
        """Specific force (3,) to use, and the gyroscope's rate in wheels[2]; None without a recent one."""
        if state.specific_force is not None:
            self._measured = time, state.specific_force, float(wheels[2])
            share = 1.0 - np.exp(-max(dt, 1e-3) / MEAN_S)
            self._upward += share * float(state.specific_force[2] - self._upward)
            self._turning += share * (abs(self._measured[2]) - self._turning)
        if self._measured is None or time - self._measured[0] > HELD_S:
            self.imu.add(Rejection.STALE, f"IMU: no measurement for {HELD_S:g} s; wheels that slip are believed")
            return None
        self.imu.good()
        wheels[2] = self._measured[2]
        return self._measured[1]

    def _begin(self, pose: Array, body: Array) -> None:
        """Take pose (3,) and body velocity (3,) as known; biases stay."""
        self._mean[_P], self._mean[_V] = pose[:2], (turns(pose[2]) @ body)[:2]
        self._covariance[:4], self._covariance[:, :4] = 0.0, 0.0
        self._covariance[:4, :4] = np.diag(np.square([POSITION_STD_M] * 2 + [_START_M_S] * 2))
        self._yaw[0], self._yaw_covariance[0], self._yaw_covariance[:, 0] = pose[2], 0.0, 0.0
        self._yaw_covariance[0, 0] = YAW_STD_RAD**2

    def _predict(self, wheels: Array, force: Array, dt: float) -> None:
        """Advance to the present, and correct by the wheels' velocity.

        wheels: (3,) forward, left, and the gyroscope's rate. force: (3,) specific force.
        """
        flow = np.array([[1.0, -dt], [0.0, 1.0]])
        rate = wheels[2] - self._yaw[1]
        turn = _turn(self._yaw[0] + 0.5 * dt * rate)
        self._yaw[0] += dt * rate
        self._yaw_covariance = flow @ self._yaw_covariance @ flow.T
        self._yaw_covariance += dt * np.diag(np.square([RATE_NOISE, GYRO_BIAS_WALK]))
        mean, flow = self._mean, np.eye(8)
        flow[_P, _V], flow[_V, _B], flow[_V, _S] = dt * np.eye(2), -dt * turn, -dt * np.eye(2)
        acceleration = turn @ (force[:2] - mean[_B]) - mean[_S]
        mean[_P] += dt * (mean[_V] + 0.5 * dt * acceleration)
        mean[_V] += dt * acceleration
        walk = np.repeat(np.square([0.0, FORCE_NOISE, BIAS_WALK, SLOPE_WALK]), 2)
        self._covariance = flow @ self._covariance @ flow.T + np.diag(dt * walk)
        self._slipping = np.maximum(np.exp(-dt / SLIP_S) * self._slipping, np.abs(force[:2]))
        self._correct_velocity(wheels[:2])

    def _correct_velocity(self, wheels: Array) -> None:
        rows = np.zeros((2, 8))
        rows[:, _V] = _turn(self._yaw[0]).T
        std = SPEED_STD_M_S + np.array(SLIP) * self._slipping / GRAVITY_M_S2 * abs(wheels[0])
        off = wheels - rows @ self._mean
        usual = _USUAL * np.sqrt(np.square(std) + np.einsum("ij,jk,ik->i", rows, self._covariance, rows))
        self._correct(rows, off, np.square(std) * np.maximum(np.abs(off) / usual, 1.0))

    def _correct_pose(self, pose: Array) -> None:
        """Take a pose (3,) of the localiser, extrapolated to the present."""
        rows = np.zeros((2, 8))
        rows[:, _P] = np.eye(2)
        self._correct(rows, pose[:2] - self._mean[_P], np.full(2, POSITION_STD_M**2))
        covariance = self._yaw_covariance
        gain = covariance[:, 0] / (covariance[0, 0] + YAW_STD_RAD**2)
        self._yaw += gain * ((pose[2] - self._yaw[0] + pi) % (2.0 * pi) - pi)
        self._yaw_covariance = covariance - np.outer(gain, covariance[0])

    def _correct(self, rows: Array, off: Array, variance: Array) -> None:
        """Correct by measurements off (2,) from the expected ones, with rows (2, 8) and variances (2,)."""
        gain = np.linalg.solve(rows @ self._covariance @ rows.T + np.diag(variance), rows @ self._covariance).T
        self._mean += gain @ off
        self._covariance -= gain @ (rows @ self._covariance)
        self._covariance = 0.5 * (self._covariance + self._covariance.T)


def _turn(yaw: float) -> Array:
    """(2, 2) from the body to the world."""
    return turns(yaw)[:2, :2]
