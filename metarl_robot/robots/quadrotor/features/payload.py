# SPDX-License-Identifier: Apache-2.0
"""Feature group of a quadrotor's payload: ten inertial parameters at the payload site, in momentum form.

`value` leaves the payload out, because plans include it in their own dynamics.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.feature_spec import FeatureSpec
from metarl_robot.adaptation.features import BaseGroup, Interval, Series, Xi
from metarl_robot.robots.payload import PAYLOAD_NAMES, PAYLOAD_POOLS
from metarl_robot.robots.quadrotor.dynamics import QuadrotorDynamics
from metarl_robot.robots.quadrotor.scale import FlightScale

Array = NDArray[np.float64]

MASS_TOLERANCE = 0.25
"""Share of the rated mass by which an estimate may be negative, or exceed twice the rated mass."""
_NOTHING: Array = np.zeros(6)


class FlightPayloadFeatures(BaseGroup):
    """A rigid body at the payload site. rated_kg: rated mass; 0: any mass is possible.

    Of the hypotheses after a change, those with a possible mass come first.
    """

    sudden = removable = in_dynamics = constant = True

    def __init__(self, dynamics: QuadrotorDynamics, rated_kg: float = 0.0) -> None:
        super().__init__(dynamics.dof, PAYLOAD_NAMES, dynamics.nu)
        self._dynamics, self.pools, scale = dynamics, PAYLOAD_POOLS, FlightScale(dynamics.robot)
        self._rated_kg = rated_kg
        self.scale = np.repeat([scale.mass, scale.mass * scale.length, scale.inertia], [1, 3, 6])

    def possible(self, z: Array, variance: Array) -> bool:
        margin_kg = MASS_TOLERANCE * self._rated_kg + math.sqrt(max(float(variance[0]), 0.0))
        return self._rated_kg == 0.0 or bool(-margin_kg < z[0] < 2.0 * self._rated_kg + margin_kg)

    def design(self, xi: Xi) -> Array:
        return -self._dynamics.attached_regressors(xi.q, xi.v, xi.a)

    def impulse(self, interval: Interval) -> Array:
        return interval.balance.attached_impulse

    def impulses(self, series: Series) -> Array:
        q, v = series.q, series.v
        flat = self._dynamics.attached_momentum_regressors(q.reshape(-1, 7), v.reshape(-1, 6))
        by_momentum, by_beta = (x.reshape(*q.shape[:2], 6, -1) for x in flat)
        impulses = 0.5 * series.dt * (by_beta[:, 1:] + by_beta[:, :-1]) - np.diff(by_momentum, axis=1)
        return np.asarray(impulses.reshape(-1, 6, len(self.names)))

    def attached(self, z: Array) -> Array:
        return z

    def value(self, xi: Xi, z: Array) -> Array:
        return _NOTHING


SPEC = FeatureSpec(
    build=lambda robot, dynamics, checkpoint: FlightPayloadFeatures(dynamics, robot.description.payload.rated_mass_kg),
    truth=lambda robot, task: task.payload.inertial_parameters(),
    inertial=True,
)
