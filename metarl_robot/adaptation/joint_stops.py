# SPDX-License-Identifier: Apache-2.0
"""A joint at its mechanical stop: the stop's force is unknown, and neither context nor an external wrench.

In such a sample the momentum of this joint is unknown. Its prediction gets a wide variance along M⁻¹ e_j, so that only
the other joints correct context and disturbance.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.filter_algebra import Belief
from metarl_robot.core.signals import State

Array = NDArray[np.float64]
Indices = NDArray[np.intp]

STOP_WITHIN, STOP_VELOCITY = 5e-3, 10.0
"""Distance from the position limit within which a joint may touch a stop [rad, m], and the velocity change [rad/s, m/s]
that the stop may cause in one sample."""

_NONE = np.zeros(0, dtype=np.intp)


def stopped(stops: Array | None, state: State, v_0: Array, dt: float) -> Indices:
    """Indices of the velocities on which a stop may have acted since the last sample.

    stops: (2, n) least and largest position; None: no stops. v_0: (n,) velocity at the last sample.
    """
    if stops is None:
        return _NONE
    lower, upper = stops
    near = STOP_WITHIN + dt * np.maximum(np.abs(state.v), np.abs(v_0))
    touching: Indices = ((state.q < lower + near) | (state.q > upper - near)).nonzero()[0]
    return touching


def admit_stops(predicted: Belief, inertia: Array, joints: Indices, dt: float) -> None:
    """Widen a prediction by an impulse of any size on these joints, at any time of the interval. inertia: (n, n)."""
    n = len(inertia)
    q, v = slice(0, n), slice(n, 2 * n)
    by_impulse = np.linalg.inv(inertia)[:, joints]
    by_impulse *= STOP_VELOCITY / by_impulse[joints, range(len(joints))]
    spread, half, p = by_impulse @ by_impulse.T, 0.5 * dt, predicted.covariance
    p[v, v] += spread
    p[q, v] += half * spread
    p[v, q] += half * spread
    p[q, q] += 2.0 * half**2 * spread
