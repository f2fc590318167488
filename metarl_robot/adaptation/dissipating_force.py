# SPDX-License-Identifier: Apache-2.0
"""Tells friction from a contact: friction brakes every joint that moves; the force of one contact brakes some.

A force τ that acts on several joints of a moving robot is friction, if it acts against the motion of each:

    Σ_{i: τ_i v_i < 0} w_i² ≥ AGAINST Σ_i w_i²,    (Σ w_i²)² / Σ w_i⁴ ≥ JOINTS,    w = τ / unit

The second term is the number of joints that share the force. A contact maps to the joints as Jᵀ f: with the motion of
the tool it is against the motion of some joints and along that of others, and a stiff obstacle stops the robot. A push
may agree with friction for a moment, so that both conditions have to hold for FRICTION_S of motion. That excludes most
pushes, not all: 14 of 50 constant forces on a moving tool (tests/adaptation/test_dissipating_force.py).
"""

from __future__ import annotations

from math import exp

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

MOVING_SHARE = 0.02
"""A joint moves above this share of its velocity limit."""
AGAINST, JOINTS, ON_MOVING = 0.9, 3.0, 0.5
FRICTION_S = 0.15
"""The conditions have to hold for this time, less the time in motion for which they do not."""
SIZE_S = 0.1
"""The friction is averaged over this time."""


class DissipatingForce:
    """The force during one hold, and whether it is friction.

    size: (n,) friction [Nm], averaged while the conditions hold.

    Arguments:
        velocity_limit: (n,) [rad/s].
    """

    def __init__(self, velocity_limit: Array) -> None:
        self._least_v, self._time_s = MOVING_SHARE * velocity_limit, 0.0
        self.size = np.zeros(len(velocity_limit))

    def update(self, force: Array, unit: Array, v: Array, dt: float) -> bool:
        """Process a force (n,) [Nm], judged in units (n,), at the velocity v (n,). Returns whether it is friction."""
        moving = np.abs(v) > self._least_v
        if np.count_nonzero(moving) < JOINTS:
            return False
        square = (force / unit) ** 2
        if not self._brakes(np.where(moving, square, 0.0), force * v < 0.0, float(square.sum())):
            self._time_s = max(0.0, self._time_s - dt)
            return False
        share = 1.0 if not self.size.any() else 1.0 - exp(-dt / SIZE_S)
        self.size = self.size + share * (np.where(moving, np.abs(force), self.size) - self.size)
        self._time_s += dt
        return self._time_s >= FRICTION_S

    def _brakes(self, square: Array, against: NDArray[np.bool_], total: float) -> bool:
        """Whether most of the force is on moving joints, with these squares (n,), shared, and against their motion."""
        moved = float(square.sum())
        shared = moved**2 >= JOINTS * float(square @ square)
        return shared and moved >= ON_MOVING * total > 0.0 and float(square[against].sum()) >= AGAINST * moved
