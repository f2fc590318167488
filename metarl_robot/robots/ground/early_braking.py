# SPDX-License-Identifier: Apache-2.0
"""The stop at which a reference comes to rest, approached within the deceleration that a vehicle is believed to have.

A plan looks about a second ahead; at full speed on low friction a vehicle needs longer to stop. With s_0 the place
where the reference comes to rest and a the deceleration, speeds are lowered on the same path,

    v' = min(v, √(2 a (s_0 - s)))

A vehicle that is faster than that brakes from its own speed w with the deceleration w² / (2 s_0), s_0 from the vehicle,
so that it does not pass the place.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.signals import Setpoints
from metarl_robot.robots.ground.retimed import retimed

Array = NDArray[np.float64]

STANDING_M_S = 0.05
"""A reference below this speed stands."""
_ENOUGH = 1.02
"""Decelerations beyond the wanted one by this factor are changed."""
_NEAR_M = 0.02
"""Distance to the stop at which a vehicle's own deceleration is no longer updated."""


def next_stop(points: Setpoints) -> int:
    """The first of setpoints (N, …) that stands; 0: the first one does, none does, or one before it is not finite."""
    speed = np.hypot(points.v[:, 0], points.v[:, 1])
    stop = int(np.argmax(speed < STANDING_M_S))
    return stop if speed[stop] < STANDING_M_S and np.isfinite(points.q[: stop + 1].sum() + speed[:stop].sum()) else 0


def braked(
    points: Setpoints, stop: int, spacing_s: float, speed_m_s: float, planned: float, hardest: float
) -> Setpoints:
    """Setpoints (N, …), spacing_s apart, that come to rest at the place of the stop-th one, stop > 0.

    speed_m_s: of the vehicle, at the first one. planned, hardest: decelerations [m/s²] for the stop, and for a vehicle
    that is too fast for it. Returns the same object if the vehicle reaches the stop as it is.
    """
    speed = np.hypot(points.v[: stop + 1, 0], points.v[: stop + 1, 1])
    speed[stop] = 0.0
    steps = np.maximum(np.hypot(*np.diff(points.q[: stop + 1, :2], axis=0).T), 1e-9)
    left = np.append(np.cumsum(steps[::-1])[::-1], 0.0)
    slower = np.minimum(speed, np.sqrt(2.0 * planned * left))
    needed = min(speed_m_s**2 / (2.0 * max(left[0], _NEAR_M)), hardest)
    if needed > _ENOUGH * _deceleration(slower, steps):
        slower = np.sqrt(2.0 * needed * left)
    elif _deceleration(speed, steps) < _ENOUGH * planned:
        return points
    return retimed(points, spacing_s, steps, slower)


def _deceleration(speed: Array, steps: Array) -> float:
    """Largest deceleration [m/s²] of speeds (K + 1,) [m/s] that are steps (K,) [m] apart."""
    return float(np.max(-np.diff(np.square(speed)) / (2.0 * steps)))
