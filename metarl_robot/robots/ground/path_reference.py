# SPDX-License-Identifier: Apache-2.0
"""A reference along a path with a speed profile."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.signals import Setpoints
from metarl_robot.robots.ground.path import Path

Array = NDArray[np.float64]

_LEAST_M_S = 0.05
"""Speed with which a profile leaves and reaches a standstill."""


@dataclass(frozen=True, eq=False)
class PathReference:
    """Drive a path with speeds (N,) [m/s] at arc lengths (N,) [m] from start_s on; a closed path without end."""

    path: Path
    along: Array
    speed: Array
    start_s: float = 0.0

    @cached_property
    def _clock(self) -> Array:
        """Times (N,) [s] at the arc lengths since the start."""
        mean = np.maximum(0.5 * (self.speed[1:] + self.speed[:-1]), _LEAST_M_S)
        return np.concatenate([[0.0], np.cumsum(np.diff(self.along) / mean)])

    @property
    def lap_s(self) -> float:
        """Time of one lap [s], or of the whole path."""
        return float(self._clock[-1])

    def progress(self, times: Array) -> tuple[Array, Array, Array]:
        """Arc length [m], speed [m/s] and acceleration along the path [m/s²] at times (N,) [s]."""
        since = np.maximum(times - self.start_s, 0.0)
        laps, since = np.divmod(since, self.lap_s) if self.path.closed else (np.zeros_like(since), since)
        k = np.clip(np.searchsorted(self._clock, since, side="right") - 1, 0, len(self.along) - 2)
        span = self._clock[k + 1] - self._clock[k]
        moving = since <= self.lap_s
        rate = np.where(moving, (self.speed[k + 1] - self.speed[k]) / span, 0.0)
        elapsed = np.minimum(since - self._clock[k], span)
        speed = np.where(moving, self.speed[k] + rate * elapsed, 0.0)
        share = elapsed * (self.speed[k] + 0.5 * rate * elapsed)
        whole = np.maximum(span * 0.5 * (self.speed[k] + self.speed[k + 1]), 1e-12)
        along = self.along[k] + np.minimum(share / whole, 1.0) * (self.along[k + 1] - self.along[k])
        return laps * self.path.length_m + along, speed, rate

    def sample(self, times: Array) -> Setpoints:
        """Setpoints at times (N,) [s]."""
        along, speed, rate = self.progress(times)
        place = self.path.at(along)
        forward = np.stack([np.cos(place.yaw), np.sin(place.yaw)], axis=1)
        left = np.stack([-forward[:, 1], forward[:, 0]], axis=1)
        turning = speed * place.curvature
        velocity = np.column_stack([forward * speed[:, None], turning])
        linear = forward * rate[:, None] + left * (speed * turning)[:, None]
        turn = rate * place.curvature + speed**2 * place.sharpness
        return Setpoints(np.column_stack([place.position, place.yaw]), velocity, np.column_stack([linear, turn]))
