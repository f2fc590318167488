# SPDX-License-Identifier: Apache-2.0
"""Feature group of the ground beside its grip: rolling resistance per load, and its rise along x and y [rad]."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.features import BaseGroup, Xi
from metarl_robot.robots.ground.description import GRAVITY_M_S2, Ground
from metarl_robot.robots.ground.tyre import CREEP_M_S

Array = NDArray[np.float64]

GROUND_NAMES = ("rolling_resistance", "slope_x_rad", "slope_y_rad")


class GroundForceFeatures(BaseGroup):
    """Δ = -m g (c_r v / |v|_0 + s)."""

    def __init__(self, robot: Ground) -> None:
        super().__init__(robot.dof, GROUND_NAMES, robot.nu)
        self.pools = ("rolling", "slope", "slope")
        self._weight_n = robot.mass_kg * GRAVITY_M_S2

    def design(self, xi: Xi) -> Array:
        made = np.zeros((len(xi.v), 3, 3))
        speed = np.sqrt(np.square(xi.v[:, :2]).sum(axis=1) + CREEP_M_S**2)
        made[:, :2, 0] = -self._weight_n * xi.v[:, :2] / speed[:, None]
        made[:, 0, 1] = made[:, 1, 2] = -self._weight_n
        return made
