# SPDX-License-Identifier: Apache-2.0
"""The ground as context: its features, and their report."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.feature_spec import FeatureSpec
from metarl_robot.adaptation.features import BaseGroup, Xi
from metarl_robot.core.quantities import Estimate, Quantity
from metarl_robot.core.signals import Context

Array = NDArray[np.float64]

NAMES = ("drag_n_s_m", "slope_x_rad", "slope_y_rad")
GRAVITY_M_S2 = 9.81


class GroundFeatures(BaseGroup):
    """Δ = -d v - m g s, linear in (d, s)."""

    sudden = True

    def __init__(self, mass_kg: float) -> None:
        super().__init__(2, NAMES)
        self.pools = ("drag", "slope", "slope")
        self._weight_n = mass_kg * GRAVITY_M_S2

    def design(self, xi: Xi) -> Array:
        slope = np.broadcast_to(-self._weight_n * np.eye(2), (len(xi.v), 2, 2))
        return np.concatenate([-xi.v[:, :, None], slope], axis=2)

    def jacobian(self, xi: Xi, z: Array) -> Array:
        jacobian = super().jacobian(xi, z)
        jacobian[:, :, 2:4] = -z[0] * np.eye(2)
        return jacobian


FEATURES = FeatureSpec(
    build=lambda robot, dynamics, checkpoint: GroundFeatures(dynamics.mass_kg),
    truth=lambda robot, task: np.array([task.drag_n_s_m, *task.slope_rad]),
    inertial=True,
)


class GroundReport:
    """Drag [N s/m] and slope [rad] of the ground."""

    name = "ground"
    quantities = (
        Quantity("ground_drag", "n_s_m", "drag", "N s/m", scored=True),
        *(Quantity(f"ground_slope_{axis}", "rad", f"slope along {axis}", "rad", decimals=4) for axis in "xy"),
    )

    def estimate(self, context: Context) -> Estimate | None:
        if NAMES[0] not in context.names:
            return None
        return Estimate(*np.array([context[name] for name in NAMES]).T)

    def change(self, before: Array, after: Array) -> str:
        return "" if np.array_equal(before, after) else "other ground"


GROUND = GroundReport()
