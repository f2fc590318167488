# SPDX-License-Identifier: Apache-2.0
"""Delay of odometry that its stamps hide (stamped on arrival), by comparison with the IMU.

For each delay τ of a grid, the turn and the change of velocity between two messages at t1 and t2 are compared with the
IMU's integrals from t1 - τ to t2 - τ (temporal calibration: Kelly and Sukhatme, "A general framework for temporal
calibration of multiple proprioceptive and exteroceptive sensors", 2014):

    e_θ = log(R1ᵀ R2) - ∫ω dt,      e_v = R1ᵀ (v2 - v1 - g (t2 - t1)) - ∫f dt
    E_τ = Σ |e_θ|² / σ_θ² + |e_v|² / σ_v²,  forgotten with MEMORY_S

A delay is used when its error is smaller than that of no delay by `EVIDENCE` times the mean of the smallest error's
terms, and less than `SHARE` of it; it is refined with `FINE_EVIDENCE`. At rest all delays have the same error:
nothing is decided before the quadrotor moves.
"""

from __future__ import annotations

from collections import deque
from math import exp

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core import rotation
from metarl_robot.robots.quadrotor.description import GRAVITY_M_S2

Array = NDArray[np.float64]

STEP_S = 0.01
DELAYS_S = np.linspace(0.0, 20.0 * STEP_S, 21)
ANGLE_RAD, SPEED_M_S = 0.006, 0.05
"""σ_θ and σ_v."""
MEMORY_S = 2.0
EVIDENCE, SHARE = 40.0, 0.85
FINE_EVIDENCE = 10.0
LEAST_SCALE = 0.05
"""Smallest mean of terms: exact measurements prove nothing sooner."""
SHORTEST_S, LONGEST_S = 0.018, 0.1
"""Messages closer together are skipped; those farther apart are not compared."""
KEPT_S = 0.7
"""IMU samples are kept for this long: for odometry that is late by its stamps and by DELAYS_S."""
_GRAVITY = np.array([0.0, 0.0, -GRAVITY_M_S2])


class OdometryDelay:
    """See the module's docstring. delay_s: in use."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        self.delay_s = 0.0
        self._errors, self._terms = np.zeros(len(DELAYS_S)), 0.0
        self._times: deque[float] = deque()
        self._integrals: deque[Array] = deque()  # (6,) of specific force and rate
        self._last: tuple[float, Array, Array] | None = None

    def inertial(self, stamp_s: float, force: Array, rate: Array) -> None:
        """Take an IMU sample, later than the last: specific force and rate (3,) since then."""
        sample = np.concatenate([force, rate])
        if self._times:
            self._integrals.append(self._integrals[-1] + (stamp_s - self._times[-1]) * sample)
        else:
            self._integrals.append(np.zeros(6))
        self._times.append(stamp_s)
        while stamp_s - self._times[0] > KEPT_S:
            self._times.popleft()
            self._integrals.popleft()

    def odometry(self, stamp_s: float, attitude: Array, velocity: Array) -> bool:
        """Take an odometry's attitude (4,) and velocity (3,) [world]; returns whether the delay changed."""
        last = self._last
        if last is not None and 0.0 <= stamp_s - last[0] < SHORTEST_S:
            return False
        self._last = stamp_s, attitude, velocity
        if last is None or not self._times or not 0.0 < stamp_s - last[0] <= LONGEST_S:
            return False
        if last[0] - DELAYS_S[-1] < self._times[0]:
            return False
        self._compare(last, self._last)
        return self._decide()

    def _compare(self, first: tuple[float, Array, Array], second: tuple[float, Array, Array]) -> None:
        dt = second[0] - first[0]
        turned = rotation.error(first[1], second[1])
        faster = rotation.rotate_back(first[1], second[2] - first[2] - dt * _GRAVITY)
        times, integrals = np.array(self._times), np.array(self._integrals)
        off = self._at(second[0] - DELAYS_S, times, integrals) - self._at(first[0] - DELAYS_S, times, integrals)
        off -= np.concatenate([faster, turned])
        errors = np.square(off[:, :3]).sum(1) / SPEED_M_S**2 + np.square(off[:, 3:]).sum(1) / ANGLE_RAD**2
        forget = exp(-dt / MEMORY_S)
        self._errors, self._terms = forget * self._errors + errors, forget * self._terms + 6.0

    @staticmethod
    def _at(wanted: Array, times: Array, integrals: Array) -> Array:
        """Integrals (n, 6) at the wanted times (n,)."""
        after = np.clip(np.searchsorted(times, wanted), 1, len(times) - 1)
        share = (wanted - times[after - 1]) / (times[after] - times[after - 1])
        return np.asarray(integrals[after - 1] + share[:, None] * (integrals[after] - integrals[after - 1]))

    def _decide(self) -> bool:
        errors, best = self._errors, int(np.argmin(self._errors))
        used, first = float(np.interp(self.delay_s, DELAYS_S, errors)), self.delay_s == 0.0
        scale = max(float(errors[best]) / self._terms, LEAST_SCALE)
        if used - errors[best] <= scale * (EVIDENCE if first else FINE_EVIDENCE):
            return False
        if first and errors[best] > SHARE * used:
            return False
        self.delay_s = self._between(best)
        return True

    def _between(self, best: int) -> float:
        """The delay at the vertex of the parabola through the errors at `best` and beside it."""
        if best in (0, len(DELAYS_S) - 1):
            return float(DELAYS_S[best])
        before, at, after = self._errors[best - 1 : best + 2]
        return float(DELAYS_S[best] + 0.5 * STEP_S * (before - after) / max(before - 2.0 * at + after, 1e-9))
