# SPDX-License-Identifier: Apache-2.0
"""The points of a driven path that are nearest to a vehicle, from which its cross-track error is measured."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

REACH_M = 2.0
"""The next point is searched this far along the path before and after the last one."""
_TINY = 1e-12
_KEPT = 400  # points of the path behind the newest one


def nearest_on(path: Array, places: Array, start_m: float = 0.0) -> tuple[Array, Array]:
    """Nearest points (N, 2) and their arc lengths (N,) [m] on a polyline (M, 2), for consecutive positions (N, 2).

    The search begins near the arc length `start_m` of the polyline.
    """
    steps = np.diff(path, axis=0)
    lengths = np.linalg.norm(steps, axis=1)
    begin = np.concatenate([[0.0], np.cumsum(lengths)])
    points, along, at = np.empty_like(places), np.empty(len(places)), start_m
    for k, place in enumerate(places):
        first = max(int(np.searchsorted(begin, at - REACH_M)) - 1, 0)
        last = max(int(np.searchsorted(begin, at + REACH_M, side="right")), first + 1)
        start, step = path[first:last][: len(steps) - first], steps[first:last]
        share = np.clip(np.einsum("ij,ij->i", place - start, step) / (lengths[first:last] ** 2 + _TINY), 0.0, 1.0)
        found = start + share[:, None] * step
        best = int(np.argmin(np.square(found - place).sum(axis=1)))
        points[k], at = found[best], float(begin[first + best] + share[best] * lengths[first + best])
        along[k] = at
    return points, along


class CrossTrackError:
    """Distances of a vehicle from the path that its reference has driven, time by time; keeps the latest points."""

    def __init__(self) -> None:
        self._path: deque[Array] = deque(maxlen=_KEPT)
        self._along_m = 0.0

    def __call__(self, reference: Array, place: Array) -> float:
        """The distance [m] of a position (2,), after the path has grown by a reference position (2,)."""
        if len(self._path) == _KEPT:
            self._along_m -= float(np.linalg.norm(self._path[1] - self._path[0]))
        self._path.append(reference)
        nearest = reference
        if len(self._path) > 1:
            points, along = nearest_on(np.array(self._path), place[None], self._along_m)
            nearest, self._along_m = points[0], float(along[0])
        return float(np.linalg.norm(place - nearest))
