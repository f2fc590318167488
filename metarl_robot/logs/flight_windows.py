# SPDX-License-Identifier: Apache-2.0
"""Means of a flight's signals over short windows, between which its identities are tested (flight_check.py)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core import rotation
from metarl_robot.logs.aerial_frames import flu_to_enu
from metarl_robot.logs.recording import LogError, Recording

Array = NDArray[np.float64]

WINDOW_S = 0.1
GRAVITY: Array = np.array([0.0, 0.0, 9.81])
XYZW = "quaternions are in the order xyzw; they must be wxyz"
INVERSE = "quaternions turn from world to body axes; they must turn from body to world"
FRD_TO_NED = "attitudes are FRD to NED; they must be FLU to ENU"


@dataclass(frozen=True, eq=False)
class Windows:
    """Means over W windows: moved, velocity [m/s], turned, rate [rad/s], attitude at the middle, pushed [m/s²]: dv/dt,
    force [m/s²; body] or None. mean: of further samples (K, n) of an instant, (W, n)."""

    moved: Array
    velocity: Array
    turned: Mapping[str, Array]
    rate: Array
    attitude: Array
    pushed: Array
    force: Array | None
    mean: Callable[[Array], Array]


def windows_of(recording: Recording) -> Windows:
    """Cut a recording into windows. Raises LogError if it is too short."""
    stride = max(1, round(WINDOW_S / recording.period_s))
    ends = np.arange(0, len(recording.time_s), stride)
    spans = np.diff(recording.time_s[ends])
    kept = spans < 1.5 * np.median(spans) if len(spans) else np.zeros(0, dtype=bool)
    if kept.sum() < 10:
        raise LogError(f"{recording.source}: lasts {recording.duration_s:.3g} s; a check needs a second without gaps")
    spans = spans[kept, None]

    def change(values: Array) -> Array:
        return np.diff(values[ends], axis=0)[kept] / spans

    def mean(values: Array, later: bool = False) -> Array:
        """Of samples of an instant, or (later) of the time since the sample before."""
        steps = np.diff(recording.time_s)[:, None]
        held = values[1:] if later else 0.5 * (values[1:] + values[:-1])
        whole = np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(steps * held, axis=0)])
        return np.diff(whole[ends], axis=0)[kept] / spans

    q, v, force = recording.q, recording.v, recording.specific_force
    middle = (ends[:-1] + ends[1:])[kept] // 2
    return Windows(
        change(q[:, :3]),
        mean(v[:, :3]),
        {words: _turned(attitudes, ends)[kept] / spans for words, attitudes in attitudes_of(q[:, 3:]).items()},
        mean(v[:, 3:]),
        q[middle, 3:],
        change(v[:, :3]),
        None if force is None else mean(force, later=True),
        mean,
    )


def _turned(attitudes: Array, ends: NDArray[np.intp]) -> Array:
    return rotation.error(attitudes[ends[:-1]], attitudes[ends[1:]])


def attitudes_of(q: Array) -> dict[str, Array]:
    """Attitudes as given, and as they are where one thing is wrong."""
    return {
        "": q,
        XYZW: q[:, [3, 0, 1, 2]],
        INVERSE: rotation.inverse(q),
        FRD_TO_NED: flu_to_enu(q),
    }
