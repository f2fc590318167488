# SPDX-License-Identifier: Apache-2.0
"""Nominal dynamics: m v̇ = u on level ground without drag."""

from __future__ import annotations

import casadi as ca

from metarl_robot.core.robot import Robot
from metarl_robot.dynamics.euclidean import Equations, EuclideanDynamics


class PointMassDynamics(EuclideanDynamics):
    """Dynamics of a point mass."""

    def __init__(self, robot: Robot) -> None:
        self.mass_kg = float(robot.mj_model.body("puck").mass[0])
        super().__init__(
            2, 2, Equations(lambda q: self.mass_kg * ca.SX.eye(2), lambda q, v: ca.SX.zeros(2), lambda q: ca.SX.eye(2))
        )
