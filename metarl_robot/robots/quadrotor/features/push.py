# SPDX-License-Identifier: Apache-2.0
"""Feature group of a constant push: Δ = (f, t), from wind or an offset of the centre of mass."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.feature_spec import FeatureSpec
from metarl_robot.adaptation.features import BaseGroup, Interval, Xi
from metarl_robot.robots.quadrotor.dynamics import QuadrotorDynamics
from metarl_robot.robots.quadrotor.scale import FlightScale

Array = NDArray[np.float64]

PUSH_NAMES = (*(f"push_{axis}_n" for axis in "xyz"), *(f"push_torque_{axis}_nm" for axis in "xyz"))
_UNIT: Array = np.eye(6)


class PushFeatures(BaseGroup):
    """A constant force and torque."""

    sudden = True

    def __init__(self, dynamics: QuadrotorDynamics) -> None:
        super().__init__(dynamics.dof, PUSH_NAMES, dynamics.nu)
        self.scale = FlightScale(dynamics.robot).force

    def design(self, xi: Xi) -> Array:
        return np.tile(np.eye(6), (len(xi.v), 1, 1))

    def impulse(self, interval: Interval) -> Array:
        return interval.dt * _UNIT

    def value(self, xi: Xi, z: Array) -> Array:
        return z


SPEC = FeatureSpec(
    build=lambda robot, dynamics, checkpoint: PushFeatures(dynamics),
    truth=lambda robot, task: task.mean_wind_force(robot),
    inertial=True,
)
