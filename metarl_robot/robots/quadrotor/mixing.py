# SPDX-License-Identifier: Apache-2.0
"""From thrust and torque to rotor thrusts, for four rotors or more, at any place and along any axis.

A rotor at r with the unit axis n, the thrust u n and the direction of rotation s gives the wrench

    w = (n, r × n - s c n) u      force [N; body], torque about the body's origin [Nm; body]

s is +1 for a rotor that turns counter-clockwise seen against n, from above; c is the ratio of torque to thrust. The
rows for the force along z and the torque are the allocation A (4, n). More than four rotors leave a choice; the mixing
M (n, 4) is a right inverse of A that pushes sideways as little as possible and then has the least thrusts:

    M = A⁺ - N (L N)⁺ L A⁺,     N a basis of A's null space, L the two rows for the sideways force

Where limits are active, thrusts are those of the bounded least squares problem

    min |D (A u - w)|² + |γ (u - M w)|²,     lower <= u <= upper

with weights D that put roll and pitch torque before thrust before yaw torque. It is solved by a primal active-set
method (Härkegård, "Efficient active set algorithms for solving constrained least squares problems in aircraft control
allocation", CDC 2002): every iterate is within the limits.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

PRIORITY: Array = np.array([10.0, 100.0, 100.0, 1.0])
"""Weights of collective thrust, roll, pitch and yaw torque, each as a share of its reach."""
YAW_FIRST = 100.0
"""Weight of a yaw torque that comes before collective thrust."""
CLOSENESS = 1e-3
"""γ: weight of the distance to M w, as a share of the rotors' ranges."""
_ITERATIONS = 3
"""Greatest number of changes of the active set, for each rotor."""
_SMALLEST = 1e-6
"""Smallest sideways force of a unit change of thrusts that counts: below it, a tilt is rounding."""


def wrench_map(positions: Array, axes: Array, spin: Array, torque_ratio: float) -> Array:
    """Map (6, n) from thrusts [N] to force [N; body] and torque [Nm; body].

    Arguments:
        positions: (n, 3) hubs [m; body]. axes: (n, 3) unit vectors of the thrusts [body].
        spin: (n,) +1 counter-clockwise seen from above, -1 clockwise. torque_ratio: c [m].
    """
    x, y, z = positions.T
    along_x, along_y, along_z = axes.T
    levers = np.array([y * along_z - z * along_y, z * along_x - x * along_z, x * along_y - y * along_x])
    drag = -torque_ratio * spin
    return np.vstack([axes.T, levers + drag * axes.T])


def mixing(wrenches: Array) -> Array:
    """M (n, 4) of a wrench map (6, n), or of one with columns scaled by the rotors' effectiveness."""
    allocation, sideways = wrenches[2:], wrenches[:2]
    if allocation.shape[1] == 4:
        return np.asarray(np.linalg.inv(allocation))
    least: Array = np.ascontiguousarray(np.linalg.solve(allocation @ allocation.T, allocation).T, dtype=np.float64)
    if not sideways.any():
        return least
    free = np.linalg.svd(allocation)[2][4:].T  # (n, n - 4), an orthonormal basis of the null space
    left, sizes, right = np.linalg.svd(sideways @ free, full_matrices=False)
    inverses = np.divide(1.0, sizes, out=np.zeros_like(sizes), where=sizes > _SMALLEST)
    return np.ascontiguousarray(least - free @ (right.T * inverses) @ left.T @ sideways @ least)


class BoundedMixing:
    """Thrusts within limits that come closest to a wrench.

    Arguments:
        allocation: A (4, n). lower, upper: (n,) [N].
    """

    def __init__(self, allocation: Array, lower: Array, upper: Array) -> None:
        self._allocation, self._lower, self._upper = allocation, lower, upper
        self._room = upper - lower
        self._reach = np.abs(allocation) @ self._room

    def thrusts(self, wrench: Array, preferred: Array, yaw_reserve: float) -> Array:
        """Thrusts (n,) [N] for collective thrust and torque (4,).

        preferred: (n,) thrusts without limits. yaw_reserve: yaw torque that comes before collective thrust, as a share
        of its reach.
        """
        first = yaw_reserve * self._reach[3]
        if first <= 0.0:
            return self._closest(wrench, preferred, PRIORITY)
        reserved = np.array([*wrench[:3], np.clip(wrench[3], -first, first)])
        found = self._closest(reserved, preferred, np.array([*PRIORITY[:3], YAW_FIRST]))
        if reserved[3] == wrench[3]:
            return found
        reached = np.array([*(self._allocation[:3] @ found), wrench[3]])
        return self._closest(reached, found, np.array([*np.repeat(PRIORITY[1], 3), PRIORITY[3]]))

    def _closest(self, wrench: Array, preferred: Array, priority: Array) -> Array:
        weights = priority / self._reach
        rows = np.vstack([weights[:, None] * self._allocation, np.diag(CLOSENESS / self._room)])
        wanted = np.concatenate([weights * wrench, CLOSENESS / self._room * preferred])
        return bounded_least_squares(rows, wanted, self._lower, self._upper, preferred)


def bounded_least_squares(rows: Array, wanted: Array, lower: Array, upper: Array, start: Array) -> Array:
    """Minimise |rows x - wanted|² over lower <= x <= upper (n,), from a start that is clipped to them.

    rows (m, n) must have full column rank. After `_ITERATIONS` n changes of the active set, the best x so far.
    """
    x = np.clip(start, lower, upper)
    bound = np.where(start <= lower, -1.0, np.where(start >= upper, 1.0, 0.0))
    curvature, pull = rows.T @ rows, rows.T @ wanted
    for _ in range(_ITERATIONS * len(x)):
        slope, free = pull - curvature @ x, bound == 0.0
        step = np.zeros_like(x)
        step[free] = np.linalg.solve(curvature[np.ix_(free, free)], slope[free])
        share, blocked = _share_within(x, step, lower, upper)
        x = np.clip(x + share * step, lower, upper)
        if blocked >= 0:
            bound[blocked] = np.sign(step[blocked])
            continue
        outward = np.where(free, np.inf, bound * (pull - curvature @ x))
        worst = int(np.argmin(outward))
        if outward[worst] >= 0.0 or not np.isfinite(outward[worst]):
            break
        bound[worst] = 0.0
    return x


def _share_within(x: Array, step: Array, lower: Array, upper: Array) -> tuple[float, int]:
    """Largest share in [0, 1] of a step that stays within the limits, and the entry that stops it; -1: none."""
    limit = np.where(step > 0.0, upper, lower)
    shares = np.divide(limit - x, step, out=np.full_like(x, np.inf), where=step != 0.0)
    blocked = int(np.argmin(shares))
    return (1.0, -1) if shares[blocked] >= 1.0 else (float(max(shares[blocked], 0.0)), blocked)
