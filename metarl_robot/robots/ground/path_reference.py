# SPDX-License-Identifier: Apache-2.0
"""A reference along a path with a speed profile."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.signals import Setpoints
from metarl_robot.robots.ground.description import Ground
from metarl_robot.robots.ground.path import Path
from metarl_robot.robots.ground.speed_profile import from_rest, speed_profile

Array = NDArray[np.float64]

GRIP_SHARE = 0.6
"""Share of the nominal grip that motions use by default."""
_LEAST_M_S = 0.05
"""Speed at which a profile leaves and reaches a standstill."""


@dataclass(frozen=True, eq=False)
class PathReference:
    """Drive a path with speeds (N,) [m/s] at arc lengths (N,) [m] from start_s on; a closed path is repeated forever.

    first: (N,) speeds of the first lap of a closed path, which may begin at rest; None: those of all laps.
    widths: (N, 2) distance of the course's right and left edge from the path [m]; None: there are no edges.
    speed_grip: share of the estimated friction to which a controller lowers the speeds (route.py); 0: it does not.
    remark: text for the user on differences from the request.
    """

    path: Path
    along: Array
    speed: Array
    start_s: float = 0.0
    first: Array | None = None
    widths: Array | None = None
    speed_grip: float = 0.0
    remark: str = ""

    @cached_property
    def _lap(self) -> _Lap:
        return _Lap(self.along, self.speed)

    @cached_property
    def _first(self) -> _Lap:
        return self._lap if self.first is None else _Lap(self.along, self.first)

    @property
    def lap_s(self) -> float:
        """Time of one lap after the first [s], or of the whole path."""
        return self._lap.duration_s

    def progress(self, times: Array) -> tuple[Array, Array, Array]:
        """Arc length [m], speed [m/s] and acceleration along the path [m/s²] at times (N,) [s]."""
        since = np.maximum(times - self.start_s, 0.0)
        along, speed, rate = self._first.progress(since)
        later = since >= self._first.duration_s
        if self.path.closed and later.any():
            laps, rest = np.divmod(since[later] - self._first.duration_s, self._lap.duration_s)
            along[later], speed[later], rate[later] = self._lap.progress(rest)
            along[later] += (1.0 + laps) * self.path.length_m
        started = times >= self.start_s
        return along, np.where(started, speed, 0.0), np.where(started, rate, 0.0)

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


def driven(robot: Ground, path: Path, friction: float, most: Array | None = None) -> PathReference:
    """Drive a path from rest as fast as a friction allows. most: see speed_profile."""
    along, speed = speed_profile(robot, path, friction, most=most)
    first = from_rest(robot, path, along, speed, friction) if path.closed else None
    return PathReference(path, along, speed, first=first)


class _Lap:
    """Progress of one lap with speeds (N,) at arc lengths (N,), from its start at time 0 [s]."""

    def __init__(self, along: Array, speed: Array) -> None:
        mean = np.maximum(0.5 * (speed[1:] + speed[:-1]), _LEAST_M_S)
        self._along, self._speed = along, speed
        self._clock = np.concatenate([[0.0], np.cumsum(np.diff(along) / mean)])
        self.duration_s = float(self._clock[-1])

    def progress(self, since: Array) -> tuple[Array, Array, Array]:
        """See PathReference.progress; the lap's end holds after it."""
        k = np.clip(np.searchsorted(self._clock, since, side="right") - 1, 0, len(self._along) - 2)
        span = self._clock[k + 1] - self._clock[k]
        moving = since <= self.duration_s
        rate = np.where(moving, (self._speed[k + 1] - self._speed[k]) / span, 0.0)
        elapsed = np.minimum(since - self._clock[k], span)
        speed = np.where(moving, self._speed[k] + rate * elapsed, 0.0)
        share = elapsed * (self._speed[k] + 0.5 * rate * elapsed)
        whole = np.maximum(span * 0.5 * (self._speed[k] + self._speed[k + 1]), 1e-12)
        along = self._along[k] + np.minimum(share / whole, 1.0) * (self._along[k + 1] - self._along[k])
        return along, speed, rate
