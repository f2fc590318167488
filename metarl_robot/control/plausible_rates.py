# SPDX-License-Identifier: Apache-2.0
"""Implausible velocities and accelerations of references: the slopes of the positions replace them.

Velocities far beyond the limits (another unit, a faulty planner) would throw a robot off that follows them. The
positions of the same reference tell the motion. Where a velocity or an acceleration is out of bounds,

    v(t) = (q(t + h) - q(t - h)) / 2 h      a(t) = (v(t + h) - v(t - h)) / 2 h

with h = SLOPE_S, each clipped to the bounds. Rates of an attitude are zero there.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.robot import Robot
from metarl_robot.core.signals import Reference, Setpoints

Array = NDArray[np.float64]

SLOPE_S = 0.02
"""Time to either side over which slopes are taken."""
_STEPS_S = np.array([-2.0, 0.0, 2.0]) * SLOPE_S


class PlausibleRates:
    """A reference with bounded rates; its other attributes (`constraints`, …) are those of the reference itself.

    Arguments:
        robot: the bounds are its `plausible_velocity` and `plausible_acceleration`.
    """

    def __init__(self, robot: Robot, reference: Reference) -> None:
        self._reference, self._m = reference, robot.position_size
        self._fastest, self._sharpest = robot.plausible_velocity, robot.plausible_acceleration

    def __getattr__(self, name: str) -> Any:
        if name == "_reference":  # not set yet while being copied or unpickled
            raise AttributeError(name)
        return getattr(self._reference, name)

    def sample(self, times: Array) -> Setpoints:
        """Setpoints at times (N,) [s]."""
        given = self._reference.sample(times)
        wrong = (np.abs(given.v) > self._fastest) | (np.abs(given.a) > self._sharpest)
        if not np.count_nonzero(wrong):
            return given
        rows = np.flatnonzero(wrong.any(axis=1))
        v, a = given.v.copy(), given.a.copy()
        v[rows], a[rows] = self._slopes(times[rows])
        return Setpoints(given.q, v, a)

    def _slopes(self, times: Array) -> Iterable[Array]:
        """Velocities and accelerations (K, n) from positions around times (K,)."""
        around = (times[:, None] + _STEPS_S).ravel()
        q = self._reference.sample(around).q[:, : self._m].reshape(len(times), len(_STEPS_S), self._m)
        before, after = np.moveaxis(np.diff(q, axis=1) / (2.0 * SLOPE_S), 1, 0)
        found = ((0.5 * (before + after), self._fastest), ((after - before) / (2.0 * SLOPE_S), self._sharpest))
        for slope, bound in found:
            rates = np.zeros((len(times), len(bound)))
            rates[:, : self._m] = np.clip(slope, -bound[: self._m], bound[: self._m])
            yield rates
