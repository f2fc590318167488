# SPDX-License-Identifier: Apache-2.0
"""Feature group of rotor effectiveness: Δ = B(q) ε u, 1 + ε for each rotor, including a weak battery."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.feature_spec import FeatureSpec
from metarl_robot.adaptation.features import BaseGroup, Interval, Xi
from metarl_robot.robots.quadrotor.dynamics import QuadrotorDynamics

Array = NDArray[np.float64]

_NOTHING: Array = np.zeros(6)


class RotorFeatures(BaseGroup):
    """Effectiveness 1 + ε of each rotor."""

    sudden = alike = True

    def __init__(self, dynamics: QuadrotorDynamics) -> None:
        super().__init__(dynamics.dof, tuple(f"rotor_{i + 1}_strength_error" for i in range(dynamics.nu)), dynamics.nu)
        self._dynamics = dynamics

    def design(self, xi: Xi) -> Array:
        return self._dynamics.input_maps(xi.q) * xi.effort[:, None, :]

    def impulse(self, interval: Interval) -> Array:
        return interval.balance.input_map * (interval.dt * interval.effort)

    def value(self, xi: Xi, z: Array) -> Array:
        return super().value(xi, z) if xi.effort.any() else _NOTHING

    def effort_gain(self, z: Array) -> Array:
        return z


SPEC = FeatureSpec(
    build=lambda robot, dynamics, checkpoint: RotorFeatures(dynamics),
    truth=lambda robot, task: task.thrust_gain(robot) - 1.0,
    inertial=True,
)
