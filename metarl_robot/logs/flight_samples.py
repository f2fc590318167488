# SPDX-License-Identifier: Apache-2.0
"""Signals of a flight brought to the times of its attitudes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.window_means import integral, values_at
from metarl_robot.core import rotation
from metarl_robot.logs.recording import LogError, Repair

Array = NDArray[np.float64]

LEAST_SAMPLES = 50


def cleaned(
    path: Path, time_s: Array, position: Array, attitude: Array, velocity: Array, repairs: list[Repair]
) -> tuple[Array, Array, Array]:
    """Without rows that are not finite or whose quaternion has not the norm 1: times, q (K, 7), v (K, 3)."""
    rows = np.hstack([position, attitude, velocity])
    good = np.isfinite(rows).all(axis=1) & (np.abs(np.linalg.norm(attitude, axis=1) - 1.0) < 0.05)
    if not good.all():
        repairs.append(Repair("poses that are not finite, or no rotation: left out", int((~good).sum())))
    if good.sum() < LEAST_SAMPLES:
        raise LogError(f"{path}: {int(good.sum())} usable poses; at least {LEAST_SAMPLES} are needed")
    turned = rotation.continuous(rotation.normalise(attitude[good]))
    return time_s[good], np.hstack([position[good], turned]), velocity[good]


def since(at: Array) -> Array:
    """Ends (K + 1,) of the intervals before each time."""
    return np.concatenate([[2.0 * at[0] - at[1]], at])


def about(at: Array) -> Array:
    """Ends (K + 1,) of the intervals about each time: the middles between times."""
    middles = 0.5 * (at[1:] + at[:-1])
    return np.concatenate([[2.0 * at[0] - middles[0]], middles, [2.0 * at[-1] - middles[-1]]])


def means(time_s: Array, values: Array, ends: Array, at: Array) -> Array:
    """Means (K, n) of samples over the intervals with these ends (K + 1,)."""
    ends = np.clip(ends, time_s[0], time_s[-1])
    steps, whole = np.diff(ends)[:, None], values_at(time_s, integral(time_s, values), ends)
    return np.where(steps > 1e-9, np.diff(whole, axis=0) / np.maximum(steps, 1e-9), values_at(time_s, values, at))


def held(time_s: Array, values: Array, at: Array) -> Array:
    """Means (K, n), about each time, of values that last from their time until the next."""
    ends = about(at)
    lasts = np.append(time_s, max(2.0 * time_s[-1] - time_s[-2], ends[-1]))
    first = np.zeros((1, values.shape[1]))
    whole = np.concatenate([first, np.cumsum(np.diff(lasts)[:, None] * values, axis=0)])
    return np.asarray(np.diff(values_at(lasts, whole, ends), axis=0) / np.diff(ends)[:, None])
