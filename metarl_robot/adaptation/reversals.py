# SPDX-License-Identifier: Apache-2.0
"""Joints that have just turned round: their friction changes its sign there, and does so at once.

A filter that knows too little friction sees this as a sudden force. The force brakes the new motion; that of an
obstacle that turned a joint round drives it.
"""

from __future__ import annotations

from math import copysign, inf

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

MOVING_SHARE = 0.002
"""A joint moves above this share of its velocity limit; below, the sign of a velocity is noise."""
JUST_S = 0.2
"""A joint has just turned round for this time. 0.1 and 0.3 gave the same."""


class Reversals:
    """Time since the last reversal of each joint.

    Arguments:
        velocity_limit: (n,) [rad/s].
    """

    def __init__(self, velocity_limit: Array) -> None:
        self._least_v = (MOVING_SHARE * velocity_limit).tolist()
        self._direction = [0.0] * len(velocity_limit)
        self._since_s = [inf] * len(velocity_limit)

    def update(self, v: Array, dt: float) -> None:
        """Process a velocity (n,) [rad/s]."""
        for i, (speed, least) in enumerate(zip(v.tolist(), self._least_v, strict=True)):
            self._since_s[i] += dt
            if abs(speed) > least:
                if speed * self._direction[i] < 0.0:
                    self._since_s[i] = 0.0
                self._direction[i] = copysign(1.0, speed)

    def without_friction(self, force: Array, v: Array) -> Array:
        """A force (n,) [Nm] without the entries that may be the friction of joints that have just turned round."""
        return np.where((np.array(self._since_s) < JUST_S) & (force * v < 0.0), 0.0, force)
