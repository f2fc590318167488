# SPDX-License-Identifier: Apache-2.0
"""Odometry of a vehicle whose wheels slip, without an IMU: wheels and a localiser's poses show the slip.

Wheels show a twist w = (u, w_y, w_ψ) that lacks side slip, and a yaw rate by the steering angle that lacks understeer.
The body's twist is

    v = w + G(w) κ + s,    G(w) κ = (κ_1 u, -κ_2 u² w_ψ / g, κ_3 w_ψ + κ_4 u)

κ are properties of tyres and vehicle: error of the wheels' radius, slip angle of the rear axle per lateral
acceleration, understeer, offset of the steering angle. s is other slip; it lasts for SLIP_S and grows with the lateral
acceleration. Both return to zero (Ornstein, Uhlenbeck 1930). A Kalman filter holds the pose, s and κ, and takes the
localiser's poses. Their noise is estimated online, from their second differences beyond odometry.

As in inertial_odometry.py, the estimated velocity is integrated to a pose o, by which localisation.py extrapolates late
poses of the localiser to the present.
"""

from __future__ import annotations

from math import pi

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.signals import State
from metarl_robot.robots.ground.description import GRAVITY_M_S2
from metarl_robot.robots.ground.heading import turns
from metarl_robot.robots.ground.localisation import Localisation, compose, inverse

Array = NDArray[np.float64]

SLIP_S = 0.2
SLIP_SHARE, SLIP_FORCED = np.array([0.01, 0.01, 0.02]), np.array([0.02, 0.2, 0.0])
"""Standard deviation of s: [m/s, m/s, rad/s] per m/s, and its increase for a lateral acceleration of g."""
SLIP_TURNING = np.array([0.0, 0.0, 0.15])
"""Standard deviation of s per rad/s of yaw rate."""
TYRES_S, TYRES = 10.0, np.array([0.05, 0.1, 0.1, 0.1])
"""Time for which κ lasts, and its standard deviations."""
POSE_WALK = np.array([0.003, 0.003, 0.002])
"""Growth of the pose's standard deviation beyond slip [m, m, rad per √s]."""
LEAST_STD, FIRST_STD, MOST_STD = np.array([0.01, 0.005]), np.array([0.02, 0.01]), np.array([0.3, 0.2])
"""Least, first and largest standard deviation of a localiser's poses [m, rad]."""
NOISE_POSES = 25.0
"""Poses over which their noise is averaged."""
LARGEST = 9.0
"""A pose counts at most as this multiple of the present variance."""
LONGEST_S = 0.1
"""After a longer gap slip and pose begin anew."""
_POSE, _SLIP, _TYRES = slice(0, 3), slice(3, 6), slice(6, 10)


class SlipOdometry:
    """See the module's docstring. localisation: takes the localiser's poses; is asked through this only."""

    def __init__(self, localisation: Localisation) -> None:
        self._localisation = localisation
        self._restart()

    def _restart(self) -> None:
        self._time: float | None = None
        self._last: State | None = None
        self._here: Array = np.zeros(3)  # o
        self._tracking = False
        self._fixes = self._jumps = 0
        self._mean, self._covariance = np.zeros(10), np.zeros((10, 10))
        self._covariance[_TYRES, _TYRES] = np.diag(np.square(TYRES))
        self._variance: Array = np.square(FIRST_STD)
        self._origins: list[Array] = []  # of o in the world, by the last poses

    def corrected(self, time: float, state: State) -> State | None:
        """The state in the localiser's frame; None before its first pose. state: pose and twist of the wheels."""
        if self._time is not None and time < self._time - LONGEST_S:
            self._restart()
        if self._time is not None and self._last is not None and time <= self._time:
            return self._last
        dt = 0.0 if self._time is None else max(time - self._time, 0.0)
        self._time, wheels = time, turns(-state.q[2]) @ state.v
        tracking = self._tracking and 0.0 < dt <= LONGEST_S
        if tracking:
            self._predict(wheels, dt)
        body = wheels + _slip(wheels) @ self._mean[3:]
        self._here = self._here + dt * (turns(self._here[2] + 0.5 * dt * body[2]) @ body)
        faded = self._localisation.odometry(time, self._here)
        if faded is None:
            return None
        if not tracking or self._localisation.relocations != self._jumps:
            self._begin(faded)
        elif self._localisation.accepted != self._fixes:
            self._correct(self._localisation.newest(self._here))
            body = wheels + _slip(wheels) @ self._mean[3:]
        self._fixes, self._jumps = self._localisation.accepted, self._localisation.relocations
        q = self._mean[_POSE].copy()
        self._last = State(q, turns(q[2]) @ body)
        return self._last

    def _begin(self, pose: Array) -> None:
        """Take a pose (3,) as known; slip begins anew, properties of the tyres stay."""
        known = slice(0, 6)
        self._tracking, self._origins = True, []
        self._mean[_POSE], self._mean[_SLIP] = pose, 0.0
        self._covariance[known], self._covariance[:, known] = 0.0, 0.0
        self._covariance[_POSE, _POSE] = np.diag(self._variance[[0, 0, 1]])

    def _predict(self, wheels: Array, dt: float) -> None:
        """Advance to the present. wheels: (3,) twist."""
        mean, slip = self._mean, _slip(wheels)
        body = wheels + slip @ mean[3:]
        turn = turns(mean[2] + 0.5 * dt * body[2])
        moved = turn @ body
        kept = np.exp(-dt / np.repeat([SLIP_S, TYRES_S], (3, 4)))
        flow = np.diag(np.concatenate([np.ones(3), kept]))
        flow[_POSE, 3:] = dt * turn @ slip
        flow[:2, 2] = -dt * moved[1], dt * moved[0]
        mean[_POSE] += dt * moved
        mean[3:] *= kept
        forced = SLIP_FORCED * abs(wheels[0] * wheels[2]) / GRAVITY_M_S2
        std = np.concatenate([(SLIP_SHARE + forced) * abs(wheels[0]) + SLIP_TURNING * abs(wheels[2]), TYRES])
        walk = np.concatenate([dt * np.square(POSE_WALK), (1.0 - kept**2) * np.square(std)])
        self._covariance = flow @ self._covariance @ flow.T + np.diag(walk)

    def _correct(self, pose: Array) -> None:
        """Take a pose (3,) of the localiser, extrapolated to the present."""
        self._measure_noise(pose)
        off = _wrapped(pose - self._mean[_POSE])
        covariance = self._covariance[_POSE, _POSE] + np.diag(self._variance[[0, 0, 1]])
        gain = np.linalg.solve(covariance, self._covariance[_POSE]).T
        self._mean += gain @ off
        self._covariance -= gain @ self._covariance[_POSE]
        self._covariance = 0.5 * (self._covariance + self._covariance.T)

    def _measure_noise(self, pose: Array) -> None:
        """Estimate the poses' noise: the last three, extrapolated to the present, differ by it and by drift."""
        self._origins = [*self._origins[-2:], compose(pose, inverse(self._here))]
        if len(self._origins) < 3:
            return
        first, second, third = (compose(origin, self._here) for origin in self._origins)
        square = np.square(_wrapped(_wrapped(third - second) - _wrapped(second - first))) / 6.0
        now = np.minimum(np.array([0.5 * (square[0] + square[1]), square[2]]), LARGEST * self._variance)
        moved = self._variance + (now - self._variance) / NOISE_POSES
        self._variance = np.clip(moved, np.square(LEAST_STD), np.square(MOST_STD))


def _slip(wheels: Array) -> Array:
    """(3, 7) change of the body's twist by s and κ."""
    u, _, rate = wheels
    slip = np.zeros((3, 7))
    slip[:, :3] = np.eye(3)
    slip[0, 3], slip[1, 4] = u, -abs(u) * u * rate / GRAVITY_M_S2
    slip[2, 5], slip[2, 6] = rate, u
    return slip


def _wrapped(difference: Array) -> Array:
    """A difference of poses (3,), with the yaw in [-π, π)."""
    return np.array([*difference[:2], (difference[2] + pi) % (2.0 * pi) - pi])
