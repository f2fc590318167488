# SPDX-License-Identifier: Apache-2.0
"""A path on the ground by arc length: a cubic spline through points, open or closed."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from metarl_robot.core.errors import SignalError

Array = NDArray[np.float64]

_FINE_M = 0.02
"""Spacing of the samples by which arc length is measured."""
_TABLE_M = 0.01
"""Spacing of the table from which a path is interpolated linearly: an error of 1e-5 m at a radius of 1 m."""
_MOST_ROWS = 200_000
_CLOSEST_POINTS_M = 1e-3


class PathPoints(NamedTuple):
    """A path at N arc lengths: position (N, 2) [m; world], yaw (N,) [rad], curvature (N,) [1/m] and its rate [1/m²]."""

    position: Array
    yaw: Array
    curvature: Array
    sharpness: Array


class Path:
    """See the module's docstring.

    Arguments:
        points: (K, 2) [m; world], K >= 2; for a closed path K >= 3, without repeating the first one.
        closed: whether the path returns to its first point.
        refinements: number of fits that make the parameter arc length; one is enough if points are close.

    Raises:
        SignalError: too few points, a value that is not finite, or two neighbours at one place.
    """

    def __init__(self, points: Array, closed: bool = False, refinements: int = 3) -> None:
        points = _checked(points, 3 if closed else 2)
        if closed:
            points = np.concatenate([points, points[:1]])
        steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
        near = np.flatnonzero(steps < _CLOSEST_POINTS_M)
        if len(near):
            raise SignalError(f"path: points {near[0]} and {near[0] + 1} are at one place; leave one of them out")
        along, ends = np.concatenate([[0.0], np.cumsum(steps)]), "periodic" if closed else "natural"
        spline = CubicSpline(along, points, bc_type=ends)
        for _ in range(refinements):
            along, spline = _by_arc_length(spline, ends)
        self.closed, self.length_m = closed, float(along[-1])
        self._spline = spline
        count = int(np.clip(np.ceil(self.length_m / _TABLE_M), 8, _MOST_ROWS))
        self._table, self._per_m = self._sampled(np.linspace(0.0, self.length_m, count + 1)), count / self.length_m
        self.turn_rad = float(self._table[-1, 2] - self._table[0, 2])

    def at(self, along: Array) -> PathPoints:
        """The path at arc lengths (N,) [m]; those beyond an open path's ends are at the end."""
        if self.closed:
            laps, s = np.divmod(along, self.length_m)
        else:
            laps, s = np.zeros_like(along), np.clip(along, 0.0, self.length_m)
        place = s * self._per_m
        k = np.minimum(place.astype(int), len(self._table) - 2)
        share = (place - k)[:, None]
        row = self._table[k]
        row = row + share * (self._table[k + 1] - row)
        return PathPoints(row[:, :2], row[:, 2] + laps * self.turn_rad, row[:, 3], row[:, 4])

    def _sampled(self, s: Array) -> Array:
        """Position, yaw, curvature and its rate (N, 5) at arc lengths (N,)."""
        d1, d2, d3 = (self._spline(s, order) for order in (1, 2, 3))
        speed = np.maximum(np.linalg.norm(d1, axis=1), 1e-9)
        cross, across = (d1[:, 0] * d[:, 1] - d1[:, 1] * d[:, 0] for d in (d2, d3))
        curvature = cross / speed**3
        change = across / speed**4 - 3.0 * curvature * np.sum(d1 * d2, 1) / speed**3
        yaw = np.unwrap(np.arctan2(d1[:, 1], d1[:, 0]))
        return np.column_stack([self._spline(s), yaw, curvature, change])

    def nearest(self, position: Array, guess_m: float, reach_m: float = 2.0) -> float:
        """Arc length [m] of the point nearest to a position (2,), within `reach_m` of a guess."""
        along = guess_m + np.linspace(-reach_m, reach_m, 81)
        for _ in range(3):
            away = np.sum((self.at(along).position - position) ** 2, axis=1)
            best, step = along[np.argmin(away)], along[1] - along[0]
            along = best + np.linspace(-step, step, 21)
        return float(best)


def _checked(points: Array, least: int) -> Array:
    points = np.array(points, dtype=float)
    if points.ndim != 2 or points.shape[1] != 2 or len(points) < least:
        raise SignalError(f"path: must have at least {least} points (x, y); given an array of shape {points.shape}")
    if not np.all(np.isfinite(points)):
        raise SignalError(f"path: point {int(np.argwhere(~np.isfinite(points))[0, 0])} is not finite")
    return points


def _by_arc_length(spline: CubicSpline, ends: str) -> tuple[Array, CubicSpline]:
    """The same curve with its arc length as parameter, and the samples of this parameter."""
    u = np.linspace(0.0, spline.x[-1], max(int(spline.x[-1] / _FINE_M), 2 * len(spline.x)) + 1)
    points = spline(u)
    if ends == "periodic":
        points[-1] = points[0]
    speed = np.linalg.norm(spline(0.5 * (u[1:] + u[:-1]), 1), axis=1)
    along = np.concatenate([[0.0], np.cumsum(speed * np.diff(u))])
    return along, CubicSpline(along, points, bc_type=ends)
