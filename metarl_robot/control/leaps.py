# SPDX-License-Identifier: Apache-2.0
"""Removal of jumps of the reference from the MPC's horizon.

The positions of a motion follow from its velocities. A jump between knots k and k + 1, a time h apart, is the
remainder

    d_k = q_{k+1} - q_k - h (v_k + v_{k+1}) / 2

if it is larger than in any motion. No plan within the horizon can follow it. A plan that tries violates limits, and a
flying robot loses height. Jumps are therefore subtracted from the later knots; they act when their time comes.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.signals import Setpoints

Array = NDArray[np.float64]


def without_leaps(target: Setpoints, spacing_s: float, largest: Array) -> Setpoints:
    """Remove jumps; returns the target itself if there are none.

    Arguments:
        target: at N + 1 knots.
        spacing_s: time between them [s].
        largest: (m,) largest remainder of the first m positions that is not a jump.
    """
    m = len(largest)
    q, v = target.q[:, :m], target.v[:, :m]
    leap = q[1:] - q[:-1] - 0.5 * spacing_s * (v[1:] + v[:-1])
    far = np.abs(leap) > largest
    if not np.count_nonzero(far):
        return target
    q = target.q.copy()
    q[1:, :m] -= np.cumsum(np.where(far, leap, 0.0), axis=0)
    return replace(target, q=q)
