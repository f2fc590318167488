# SPDX-License-Identifier: Apache-2.0
"""Model of a ground vehicle's actuators: a first-order lag from commands to the efforts that act."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metarl_robot.robots.ground.description import Ground

Array = NDArray[np.float64]


class Actuators:
    """acting: (nu,) the efforts that act now."""

    def __init__(self, robot: Ground) -> None:
        self._lag_s = robot.lag_s
        self.reset()

    def reset(self) -> None:
        self.acting: Array = np.zeros(len(self._lag_s))

    def advance(self, command: Array, dt: float) -> Array:
        """Follow a command (nu,) for dt [s]; returns the mean of the efforts that acted."""
        left = np.exp(-dt / self._lag_s)
        mean = command + (self.acting - command) * (1.0 - left) * self._lag_s / dt
        self.acting = command + left * (self.acting - command)
        return np.asarray(mean)
