# SPDX-License-Identifier: Apache-2.0
"""Feature group of air drag in still air: Δ = -R D Rᵀv - R D₂ |v| Rᵀv.

Linear (rotors) and quadratic (body), each across and along the rotors' axis.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.feature_spec import FeatureSpec
from metarl_robot.adaptation.features import BaseGroup, Interval, Xi
from metarl_robot.robots.quadrotor.description import Quadrotor
from metarl_robot.robots.quadrotor.dynamics import QuadrotorDynamics
from metarl_robot.robots.quadrotor.scale import FlightScale

Array = NDArray[np.float64]

DRAG_NAMES = ("drag_across_n_s_m", "drag_along_n_s_m", "drag_across_n_s2_m2", "drag_along_n_s2_m2")


class DragFeatures(BaseGroup):
    """Air drag of a quadrotor in still air."""

    def __init__(self, dynamics: QuadrotorDynamics) -> None:
        super().__init__(dynamics.dof, DRAG_NAMES, dynamics.nu)
        self._dynamics, scale = dynamics, FlightScale(dynamics.robot)
        weight, speed = scale.force[0], scale.velocity[0]
        self.scale = np.repeat([weight / speed, weight / speed**2], 2)

    def impulse(self, interval: Interval) -> Array:
        return self._dynamics.drag_impulse(interval.q_0, interval.v_0, interval.balance.q, interval.v_1, interval.dt)

    def design(self, xi: Xi) -> Array:
        return self._dynamics.drags(xi.q, xi.v)


def _coefficients(robot: Quadrotor, task: Any) -> Array:
    """Those at hover speed: rotor drag is proportional to the rotors' speed."""
    square = task.hover_square_speed(robot)[None]
    linear = task.drag_scale[0] * robot.rotor_drag * np.sqrt(square).sum()
    return np.concatenate([linear, task.drag_scale[1] * robot.parasitic_drag[[0, 2]]])


SPEC = FeatureSpec(
    build=lambda robot, dynamics, checkpoint: DragFeatures(dynamics), truth=_coefficients, regressed=True
)
