# SPDX-License-Identifier: Apache-2.0
"""Velocities of a recording without any: slopes of straight lines fitted to positions within a centred window.

White noise σ of positions at a period T leaves a slope over a window of length w with a standard deviation of
σ √(12 T / w³). The window is as long as the noise asks for, so that millimetres of noise do not become metres per
second; within limits, because a longer one smooths the motion itself.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metarl_robot.logs.check import white_noise

Array = NDArray[np.float64]
Places = NDArray[np.intp]

VELOCITY_NOISE_M_S = 0.02
"""Noise of the slopes that is aimed at."""
SHORTEST_S, LONGEST_S = 0.02, 0.2
"""Limits of the window."""
_AT_ONCE = 5000
"""Slopes found from the same sums, which lose digits as they grow."""


def half_window_s(time_s: Array, positions: Array) -> float:
    """Half of the window for positions (K, n), at least one period [s]."""
    period_s, noise = float(np.median(np.diff(time_s))), float(np.median(white_noise(positions)))
    wanted_s = (12.0 * period_s * (noise / VELOCITY_NOISE_M_S) ** 2) ** (1.0 / 3.0)
    return max(0.5 * float(np.clip(wanted_s, SHORTEST_S, LONGEST_S)), period_s)


def slopes(time_s: Array, positions: Array, at: Array, half_s: float) -> Array:
    """Velocities (N, n) at times (N,); of the two nearest samples where a window holds fewer."""
    count = len(time_s)
    centre = np.clip(at, time_s[0] + half_s, max(time_s[-1] - half_s, time_s[0] + half_s))
    first = np.searchsorted(time_s, centre - half_s - 1e-9)
    last = np.searchsorted(time_s, centre + half_s + 1e-9)
    lonely = last - first < 2
    near = np.clip(np.searchsorted(time_s, at), 1, count - 1)
    first, last = np.where(lonely, near - 1, first), np.where(lonely, near + 1, last)
    parts = [
        _lines(time_s, positions, first[begin : begin + _AT_ONCE], last[begin : begin + _AT_ONCE])
        for begin in range(0, len(at), _AT_ONCE)
    ]
    return np.concatenate(parts)


def _lines(time_s: Array, positions: Array, first: Places, last: Places) -> Array:
    """Slopes (N, n) of the lines through the samples from each of `first` until before `last`."""
    begin, end = int(first.min()), int(last.max())
    since, place = time_s[begin:end, None] - time_s[begin], positions[begin:end] - positions[begin]
    columns = np.hstack([np.ones_like(since), since, since**2, place, since * place])
    sums = np.concatenate([np.zeros((1, columns.shape[1])), np.cumsum(columns, axis=0)])
    parts = np.split(sums[last - begin] - sums[first - begin], [1, 2, 3, 3 + place.shape[1]], axis=1)
    n, t, tt, p, tp = parts
    return np.asarray((n * tp - t * p) / (n * tt - t**2))
