# SPDX-License-Identifier: Apache-2.0
"""Setpoints of the same path at lower speeds.

With τ = (cos ψ, sin ψ, κ), setpoints at the speed v' have the velocity v' τ and the acceleration v̇' τ + v'² dτ/ds,
v̇' = v' dv'/ds.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.signals import Setpoints

Array = NDArray[np.float64]


def retimed(
    points: Setpoints, spacing_s: float, steps: Array, slower: Array, gentler: Array | float = np.inf
) -> Setpoints:
    """Setpoints (N, …), spacing_s apart, with speeds (K + 1,) [m/s] at the first rows, which are steps (K,) [m] apart.

    They do not go beyond row K. gentler: (K,) accelerations along the path [m/s²] that the setpoints' do not exceed.
    """
    last, mean = len(steps), np.maximum(0.5 * (slower[1:] + slower[:-1]), 5e-4)
    clock, rates = np.concatenate([[0.0], np.cumsum(steps / mean)]), np.diff(np.square(slower)) / (2.0 * steps)
    times = spacing_s * np.arange(len(points.q))
    k = np.minimum(np.searchsorted(clock, times, side="right") - 1, last - 1)
    rate, moving, elapsed = rates[k], times < clock[-1], np.minimum(times, clock[-1]) - clock[k]
    share = np.clip(elapsed * (slower[k] + 0.5 * rate * elapsed) / steps[k], 0.0, 1.0)[:, None]
    wanted = np.where(moving, np.maximum(slower[k] + rate * elapsed, 0.0), slower[last])[:, None]
    rate = np.where(moving, np.minimum(rates, gentler)[k], 0.0)[:, None]
    table = np.column_stack([points.q[: last + 1], points.v[: last + 1], points.a[: last + 1]])
    here = table[k] + share * (table[k + 1] - table[k])
    q, v, a = here[:, :3], here[:, 3:6], here[:, 6:]
    square = np.maximum(v[:, :1] ** 2 + v[:, 1:2] ** 2, 1e-6)
    direction = v / np.sqrt(square)
    bend = (a - (a[:, :1] * direction[:, :1] + a[:, 1:2] * direction[:, 1:2]) * direction) / square
    return Setpoints(q, wanted * direction, rate * direction + wanted**2 * bend)
