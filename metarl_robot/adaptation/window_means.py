# SPDX-License-Identifier: Apache-2.0
"""Means of sampled signals over windows that are centred on given times."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def values_at(time_s: Array, values: Array, at: Array) -> Array:
    """Values (N, n) at other times (N,), by linear interpolation of samples (K, n) at time_s (K,)."""
    after = np.clip(np.searchsorted(time_s, at), 1, len(time_s) - 1)
    share = ((at - time_s[after - 1]) / (time_s[after] - time_s[after - 1]))[:, None]
    return np.asarray(values[after - 1] + share * (values[after] - values[after - 1]))


def integral(time_s: Array, values: Array) -> Array:
    """Integral (K, n) of linearly interpolated samples (K, n) up to each sample."""
    steps = np.diff(time_s)[:, None]
    areas = 0.5 * steps * (values[1:] + values[:-1])
    return np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(areas, axis=0)])


def window_means(time_s: Array, values: Array, at: Array, half_s: float) -> Array:
    """Means (N, n) of the linearly interpolated samples (K, n) over windows centred on times `at` (N,)."""
    whole, steps = integral(time_s, values), np.diff(time_s)[:, None]

    def until(times: Array) -> Array:
        before = np.clip(np.searchsorted(time_s, times) - 1, 0, len(time_s) - 2)
        since = (times - time_s[before])[:, None]
        slope = (values[before + 1] - values[before]) / steps[before]
        return np.asarray(whole[before] + since * (values[before] + 0.5 * since * slope))

    return np.asarray((until(at + half_s) - until(at - half_s)) / (2.0 * half_s))
