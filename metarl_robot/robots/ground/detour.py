# SPDX-License-Identifier: Apache-2.0
"""A detour around obstacles beside a line: dynamic programming chooses the sides, then a smooth curve is fitted.

The line is given by stations. A lattice contains lateral places at each station. The cheapest sequence of free places
(cost of offset, slope and difference from the last detour) determines on which side each obstacle is passed (lattice
planning: Howard, Kelly, "Optimal rough terrain trajectory generation", IJRR 2007). The free interval around it bounds
the offset d of the final curve

    min ∫ d² + ℓ⁴ (d'')² ds    within the intervals,

with the offset and slope at the first station given. Bounds are penalties; the caller checks the clearance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solveh_banded

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

_STEEPEST = 0.6
"""Steepest slope between neighbouring places."""
_SLOPE_WEIGHT, _OTHER_WAY_WEIGHT = 4.0, 0.2
_PENALTY = 1e5
_ROUNDS = 12


@dataclass(frozen=True)
class Lattice:
    """Offsets (J,) [m], equally spaced, beside stations of a spacing [m]; free: (M, J) whether a place is free."""

    offsets: Array
    spacing_m: float
    free: Mask

    def way(self, start_m: float, last: Array) -> tuple[NDArray[np.intp], int]:
        """Indices (M,) of the cheapest sequence of free places from an offset, and the number of stations reached.

        last: (M,) offsets of the last detour. Beyond the stations reached the last index is repeated.
        """
        begin = int(np.argmin(np.abs(self.offsets - start_m)))
        moves = self._moves()
        cost, origin, reached = self._costs(begin, moves, last)
        at = int(np.argmin(cost[reached - 1]))
        way = np.full(len(self.free), at)
        for k in range(reached - 1, 0, -1):
            at = int(origin[k, at])
            way[k - 1] = at
        return way, reached

    def _moves(self) -> NDArray[np.intp]:
        step = self.offsets[1] - self.offsets[0]
        most = max(int(_STEEPEST * self.spacing_m / step), 1)
        return np.arange(-most, most + 1)

    def _costs(self, begin: int, moves: NDArray[np.intp], last: Array) -> tuple[Array, NDArray[np.intp], int]:
        """Costs (M, J), predecessor (M, J) of each place, and the number of stations reached."""
        count, width = self.free.shape
        step = self.offsets[1] - self.offsets[0]
        places = np.square(self.offsets) + _OTHER_WAY_WEIGHT * np.square(self.offsets - last[:, None])
        places = np.where(self.free, self.spacing_m * places, np.inf)
        slopes = _SLOPE_WEIGHT * np.square(moves * step) / self.spacing_m
        before = np.arange(width)[:, None] - moves
        outside, before = (before < 0) | (before >= width), np.clip(before, 0, width - 1)
        slopes = np.where(outside, np.inf, slopes)
        cost, origin = np.full((count, width), np.inf), np.zeros((count, width), np.intp)
        cost[0, begin], rows = 0.0, np.arange(width)
        for k in range(1, count):
            options = cost[k - 1][before] + slopes
            best = np.argmin(options, axis=1)
            cost[k], origin[k] = options[rows, best] + places[k], before[rows, best]
            if not np.isfinite(cost[k].min()):
                return cost, origin, k
        return cost, origin, count

    def interval(self, way: NDArray[np.intp]) -> tuple[Array, Array]:
        """Lowest and highest free offset (M,), (M,) around a way (M,)."""
        columns = np.arange(len(self.offsets))
        blocked = ~self.free
        below = np.where(blocked & (columns < way[:, None]), columns, -1).max(axis=1) + 1
        above = np.where(blocked & (columns > way[:, None]), columns, len(columns)).min(axis=1) - 1
        return self.offsets[below], self.offsets[above]


def smooth_offsets(lower: Array, upper: Array, spacing_m: float, length_m: float, start: tuple[float, float]) -> Array:
    """Offsets (M,) [m] of the module's docstring; length_m: ℓ. start: offset [m] and slope at the first station."""
    count = len(lower)
    second = np.array([1.0, -2.0, 1.0]) * length_m**2 / spacing_m**2
    bands, right = np.zeros((3, count)), np.zeros(count)  # upper form: the diagonal is the last row
    bands[2] = 1.0
    for i in range(3):
        for j in range(i, 3):
            bands[2 - (j - i), j : count - 2 + j] += second[i] * second[j]
    for k, value in enumerate((start[0], start[0] + start[1] * spacing_m)):
        bands[2, k] += _PENALTY**2
        right[k] += _PENALTY**2 * value
    bound = np.zeros(count, dtype=int)
    for _ in range(_ROUNDS):
        active, stiff = bound != 0, bands.copy()
        stiff[2] += _PENALTY * active
        offsets: Array = solveh_banded(stiff, right + _PENALTY * np.where(bound > 0, upper, lower) * active)
        beyond = (offsets > upper).astype(int) - (offsets < lower)
        kept = np.where(active & (bound * (offsets - np.where(bound > 0, upper, lower)) > -1e-6), bound, 0)
        new = np.where(beyond != 0, beyond, kept)
        new[:2] = 0
        if (new == bound).all():
            break
        bound = new
    return offsets
