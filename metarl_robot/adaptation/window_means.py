# SPDX-License-Identifier: Apache-2.0
"""Means of sampled signals over windows that are centred on given times."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def values_at(time_s: Array, values: Array, at: Array) -> Array:
    """Values (N, n) at other times (N,), by linear interpolation of samples (K, n) at time_s (K,)."""
    after = np.minimum(np.maximum(time_s.searchsorted(at), 1), len(time_s) - 1)
    before = after - 1
    begin_s, first = time_s[before], values[before]
    share = ((at - begin_s) / (time_s[after] - begin_s))[:, None]
    return np.asarray(first + share * (values[after] - first))


def window_slopes(time_s: Array, values: Array, at: Array, half_s: float) -> Array:
    """Slopes (N, n) of the linearly interpolated samples (K, n) from end to end of windows centred on times (N,)."""
    ends = values_at(time_s, values, np.concatenate([at + half_s, at - half_s]))
    return np.asarray((ends[: len(at)] - ends[len(at) :]) / (2.0 * half_s))


def integral(time_s: Array, values: Array) -> Array:
    """Integral (K, n) of linearly interpolated samples (K, n) up to each sample."""
    whole = np.zeros(values.shape)
    areas = whole[1:]
    np.add(values[1:], values[:-1], out=areas)
    areas *= 0.5 * np.diff(time_s)[:, None]
    for column in areas.T:  # in place: a recording's samples are many
        np.cumsum(column, out=column)
    return whole


def window_means(time_s: Array, values: Array, at: Array, half_s: float) -> Array:
    """Means (N, n) of the linearly interpolated samples (K, n) over windows centred on times `at` (N,)."""
    whole, times = integral(time_s, values), np.concatenate([at + half_s, at - half_s])
    before = np.minimum(np.maximum(time_s.searchsorted(times) - 1, 0), len(time_s) - 2)
    begin_s, first = time_s[before], values[before]
    since = (times - begin_s)[:, None]
    slope = (values[before + 1] - first) / (time_s[before + 1] - begin_s)[:, None]
    until = whole[before] + since * (first + 0.5 * since * slope)
    return np.asarray((until[: len(at)] - until[len(at) :]) / (2.0 * half_s))
