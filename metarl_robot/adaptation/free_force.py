# SPDX-License-Identifier: Apache-2.0
"""Force beyond a held model that control may compensate: one along which the robot moves.

The force τ of a stiff obstacle does no work, because the robot stops along the obstacle's normal. A force from a model
error, friction, or a person does work as the robot moves. The distance moved along the force is

    s = ∫ τᵀv / |τ| dt

Once |s| exceeds MOVED_RAD, control compensates the force as a disturbance observer does; the model stays held. The
compensation never exceeds the largest force until then: an obstacle along which the tool slides with friction also
does work, and its force must not build up.
"""

from __future__ import annotations

from math import sqrt

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

MOVED_RAD = 0.03
"""With 0.008, the force of a moving obstacle was also compensated: its peak rose from 19 to 39 N."""


class FreeForce:
    """The force during one contact.

    Arguments:
        dof: n.
    """

    def __init__(self, dof: int) -> None:
        self._free, self._largest, self._moved = False, 0.0, 0.0
        self._none = np.zeros(dof)

    def update(self, force: Array, v: Array, dt: float) -> Array:
        """Process the smoothed force (n,) and the velocity (n,). Returns the force (n,) to compensate."""
        norm = sqrt(float(force @ force))
        if not self._free:
            self._largest = max(self._largest, norm)
            self._moved += float(force @ v) / max(norm, 1e-9) * dt
            self._free = abs(self._moved) >= MOVED_RAD
            return self._none
        return force * min(1.0, self._largest / max(norm, 1e-9))
