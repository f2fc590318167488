# SPDX-License-Identifier: Apache-2.0
"""Feature group of the surface: logarithms of friction and slip stiffness, over the description's.

Plans include the surface in their own dynamics, so that `value` leaves it out.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.features import BaseGroup, Interval, Xi
from metarl_robot.robots.ground.dynamics import GroundDynamics

Array = NDArray[np.float64]

SURFACE_NAMES = ("surface_friction_log", "surface_stiffness_log")


class SurfaceFeatures(BaseGroup):
    """See the module's docstring."""

    sudden = in_dynamics = True

    def __init__(self, dynamics: GroundDynamics) -> None:
        super().__init__(dynamics.dof, SURFACE_NAMES, dynamics.nu)
        self.pools = SURFACE_NAMES

    def impulse(self, interval: Interval) -> Array:
        return interval.balance.attached_impulse

    def impulses(self, series: object) -> Array:
        raise NotImplementedError

    def attached(self, z: Array) -> Array:
        return z

    def design(self, xi: Xi) -> Array:
        return np.zeros((len(xi.v), self._dof, len(self.names)))

    def value(self, xi: Xi, z: Array) -> Array:
        return np.zeros(self._dof)
