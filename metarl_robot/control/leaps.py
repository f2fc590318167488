# SPDX-License-Identifier: Apache-2.0
"""A reference that leaps within the horizon is planned for as if it did not, until it has happened.

Positions of a motion follow from its velocities. Between knots k and k + 1, a time h apart, a leap is the rest

    d_k = q_{k+1} - q_k - h (v_k + v_{k+1}) / 2

where it is larger than any motion makes it. No plan within the horizon gets there; one that tries gives up everything
else, at the cost of limits and of the height of a quadrotor. So leaps are taken out of the knots that come after them.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.signals import Setpoints

Array = NDArray[np.float64]


def without_leaps(target: Setpoints, spacing_s: float, largest: Array) -> Setpoints:
    """The target without leaps: itself where there are none.

    Arguments:
        target: at N + 1 knots.
        spacing_s: time between them [s].
        largest: (m,) how far the first m positions may be from where the velocities lead.
    """
    m = len(largest)
    q, v = target.q[:, :m], target.v[:, :m]
    leap = q[1:] - q[:-1] - 0.5 * spacing_s * (v[1:] + v[:-1])
    far = np.abs(leap) > largest
    if not far.any():
        return target
    q = target.q.copy()
    q[1:, :m] -= np.cumsum(np.where(far, leap, 0.0), axis=0)
    return replace(target, q=q)
