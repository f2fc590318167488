# SPDX-License-Identifier: Apache-2.0
"""The points of a driven path that are nearest to a vehicle, from which its cross-track error is measured."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

REACH_M = 2.0
"""The next point is searched this far along the path before and after the last one."""
_TINY = 1e-12


def nearest_on(path: Array, places: Array) -> tuple[Array, Array]:
    """Nearest points (N, 2) and their arc lengths (N,) [m] on a polyline (M, 2), for consecutive positions (N, 2).

    The search begins near the polyline's start.
    """
    steps = np.diff(path, axis=0)
    lengths = np.linalg.norm(steps, axis=1)
    begin = np.concatenate([[0.0], np.cumsum(lengths)])
    points, along, at = np.empty_like(places), np.empty(len(places)), 0.0
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
