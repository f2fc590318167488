# SPDX-License-Identifier: Apache-2.0
"""Feature group of the actuators: an offset of the steering [rad] and the strength of the drive, 1 + ε."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.features import BaseGroup, Interval, Xi
from metarl_robot.robots.ground.dynamics import GroundDynamics

Array = NDArray[np.float64]

ACTUATOR_NAMES = ("steering_offset_rad", "drive_strength_error")


class ActuatorFeatures(BaseGroup):
    """Δ = ∂F/∂δ o + ∂F/∂T T ε of a vehicle with a steered axle."""

    def __init__(self, dynamics: GroundDynamics) -> None:
        super().__init__(dynamics.dof, ACTUATOR_NAMES, dynamics.nu)
        self.pools, self._dynamics = ACTUATOR_NAMES, dynamics
        self._nothing = np.zeros(dynamics.attached)

    def impulse(self, interval: Interval) -> Array:
        return interval.dt * interval.balance.input_map * np.array([1.0, interval.effort[1]])

    def design(self, xi: Xi) -> Array:
        made = np.empty((len(xi.v), 3, 2))
        for k, (q, v, effort) in enumerate(zip(xi.q, xi.v, xi.effort, strict=True)):
            made[k] = self._dynamics.force(q, v, effort, self._nothing)[1] * np.array([1.0, effort[1]])
        return made
