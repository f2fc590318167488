# SPDX-License-Identifier: Apache-2.0
"""Accelerations of an arm when the efforts of some joints are not sufficient.

Clipping one joint's effort would change the accelerations of all joints through the coupled inertia. The efforts that
change the planned accelerations least, in the norm of the inertia (Gauss's principle), are

    min ½ (τ - τ_p)ᵀ M⁻¹ (τ - τ_p)    s.t. τ within its bounds

Every joint with spare effort then keeps its planned acceleration; one at its bound accelerates less. A joint at its
position limit has zero acceleration, because a stop carries the rest of its load.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

MOST_PIVOTS = 60
"""A solution takes about as many pivots as joints. Without one, the efforts are clipped."""


def within_efforts(
    a: Array, effort: Array, inertia: Array, bounds: tuple[Array, Array], outward: Array
) -> tuple[Array, Array]:
    """Accelerations (n,) and efforts (n,) within their bounds, by principal pivoting (Murty 1974).

    Arguments:
        a, effort: (n,) as planned.
        inertia: (n, n) slope of the efforts by the accelerations.
        bounds: lower and upper (n,) of the efforts.
        outward: (n,) direction of the stop that a joint touches: -1, 1, or 0 for none.
    """
    lower, upper = bounds
    side, resting = np.zeros(len(a)), np.zeros(len(a), dtype=bool)
    for _ in range(MOST_PIVOTS):
        held = np.where(side > 0.0, upper, lower)
        change = _changed(a, effort, inertia, held, side, resting)
        needed = effort + inertia @ change
        over = np.sign(needed - np.clip(needed, lower, upper))
        slack = 1e-9 * (1.0 + np.abs(a))
        free, bound = side == 0.0, (side != 0.0) & ~resting
        short = free & (over != 0.0)
        spare = bound & (side * change > slack)
        rests = bound & (outward * (a + change) > slack)
        leaves = resting & (outward * (held - needed) <= 0.0) & (outward * side < 0.0)
        wrong = np.flatnonzero(short | spare | rests | leaves)
        if not len(wrong):
            return a + change, np.where(free, needed, held)
        j = wrong[-1]
        if rests[j] or leaves[j]:
            resting[j] = not resting[j]
        else:
            side[j] = over[j] if short[j] else 0.0
    return a, np.clip(effort, lower, upper)


def _changed(a: Array, effort: Array, inertia: Array, held: Array, side: Array, resting: NDArray[np.bool_]) -> Array:
    """Change (n,) of the accelerations with these joints at their bounds, or at rest."""
    change = np.where(resting, -a, 0.0)
    bound = np.flatnonzero((side != 0.0) & ~resting)
    missing = held - effort - inertia @ change
    change[bound] = np.linalg.solve(inertia[np.ix_(bound, bound)], missing[bound])
    return change
