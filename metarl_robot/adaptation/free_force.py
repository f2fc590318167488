# SPDX-License-Identifier: Apache-2.0
"""Force beyond a held model that control may compensate: a stiff obstacle lets the robot move along its force nowhere.

The force τ of a stiff obstacle does no work, because the robot stops along its normal. Errors of a model, friction, and
people that push do work as the robot moves. The way along the force

    s = ∫ τᵀv / |τ| dt

decides: beyond WAY_RAD, the force counts as free, and control compensates it as a disturbance observer does. The model
stays held. The compensation never exceeds the largest force until then: with friction, an obstacle along which the tool
slides does work, too, and must not wind it up.
"""

from __future__ import annotations

from math import sqrt

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

WAY_RAD = 0.03
"""With 0.008, obstacles that came up to 10 mm nearer opened it: one peak force rose from 19 to 39 N."""


class FreeForce:
    """One held force.

    free: whether the robot has moved along it. largest: norm up to which it is compensated [Nm].

    Arguments:
        dof: n.
    """

    def __init__(self, dof: int) -> None:
        self.free, self.largest, self._way = False, 0.0, 0.0
        self._none = np.zeros(dof)

    def update(self, force: Array, v: Array, dt: float) -> Array:
        """Take in the smoothed force (n,) and the velocity (n,). Returns the force (n,) to compensate."""
        norm = sqrt(float(force @ force))
        if not self.free:
            self.largest = max(self.largest, norm)
            self._way += float(force @ v) / max(norm, 1e-9) * dt
            self.free = abs(self._way) >= WAY_RAD
            return self._none
        return force * min(1.0, self.largest / max(norm, 1e-9))
