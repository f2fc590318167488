# SPDX-License-Identifier: Apache-2.0
"""Oracle of a quadrotor: an adapter with known payload, rotors, drag and wind; see metarl_robot.sim.oracle.

Gusts, swings of the wind and latency remain unknown. A disturbance observer estimates them, as in the learning
controllers.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.factory import filter_tuning
from metarl_robot.adaptation.feature_spec import feature_groups, true_contexts
from metarl_robot.adaptation.features import FeatureMap, Interval, Xi
from metarl_robot.adaptation.filter_tuning import Prior
from metarl_robot.adaptation.tuning import AdapterTuning
from metarl_robot.core import rotation
from metarl_robot.robots.quadrotor.description import Quadrotor
from metarl_robot.robots.quadrotor.dynamics import QuadrotorDynamics
from metarl_robot.robots.quadrotor.features.push import PushFeatures
from metarl_robot.sim.oracle import OracleAdapter
from metarl_robot.sim.quadrotor.aerodynamics import Aerodynamics
from metarl_robot.sim.quadrotor.tasks import QuadrotorTask

Array = NDArray[np.float64]


class AirFeature(PushFeatures):
    """The known drag as one feature with coefficient 1, with rotors at hover speed."""

    def __init__(self, dynamics: QuadrotorDynamics, task: QuadrotorTask) -> None:
        super().__init__(dynamics)
        self.names = self.pools = ("air",)
        self._task = task
        self._air = cache(lambda count: Aerodynamics(dynamics.robot, [task] * count))
        self._square_speed = task.hover_square_speed(dynamics.robot)

    def design(self, xi: Xi) -> Array:
        return self._force(xi)[:, :, None]

    def impulse(self, interval: Interval) -> Array:
        return interval.dt * self.design(interval.middle)[0]

    def value(self, xi: Xi, z: Array) -> Array:
        return self._force(xi) * z[0]

    def _force(self, xi: Xi) -> Array:
        """Force (N, 6) with air minus force without."""
        count = len(xi.q)
        air: Aerodynamics = self._air(count)
        wind = air.exposed(np.tile(self._task.wind.mean_m_s, (count, 1)), xi.q[:, :3])
        attitude, height = rotation.to_matrix(xi.q[:, 3:]), xi.q[:, 2:3]
        square = np.tile(self._square_speed, (count, 1))
        still = np.zeros_like(xi.v)
        return air.force(attitude, height, xi.v, wind, square) - air.force(
            attitude, height, still, still[:, :3], square
        )


_KNOWN = ("payload", "rotor")
"""Feature groups with known coefficients; a payload on a sling counts as one at its hook."""


def make_oracle(robot: Quadrotor, dynamics: QuadrotorDynamics, tuning: AdapterTuning) -> OracleAdapter:
    """Make an oracle of the nominal task; the factory of `oracle_mpc`."""

    def known(task: QuadrotorTask) -> tuple[FeatureMap, Prior]:
        groups = feature_groups(robot, dynamics, _KNOWN)
        context = np.append(true_contexts(robot, [task], _KNOWN, groups)[0], 1.0)
        return FeatureMap(dynamics, (*groups, AirFeature(dynamics, task))), Prior(
            context, np.zeros((len(context), len(context)))
        )

    return OracleAdapter(dynamics, known, QuadrotorTask(ground_effect=False), filter_tuning(robot, dynamics, tuning))
