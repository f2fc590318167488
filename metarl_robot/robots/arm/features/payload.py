# SPDX-License-Identifier: Apache-2.0
"""Feature group of an arm's payload: Δ = -Y(q, v, a) π, ten inertial parameters at the payload site.

The momentum form ∫Δ dt = -(p_π1 - p_π0) + ∫β_π dt needs no acceleration.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.feature_spec import FeatureSpec
from metarl_robot.adaptation.features import BaseGroup, Interval, Series, Xi
from metarl_robot.robots.arm.dynamics import ArmDynamics
from metarl_robot.robots.payload import PAYLOAD_NAMES, PAYLOAD_POOLS
from metarl_robot.robots.rigid_body_parameters import existing_body

Array = NDArray[np.float64]


MASS_TOLERANCE = 0.25
"""Share of the rated mass by which an estimate may be negative, or exceed twice the rated mass.

Other features (motor strength) cause errors of this size while a payload has just changed.
"""


REACH_M = 0.15
"""Standard deviation of the change of the first moment, for each kilogram of the change of mass."""
SIDEWAYS = 0.1
"""Standard deviation of a horizontal force of a swinging payload, as a share of its weight."""
LEAST_CHANGE_KG = 0.1
"""Least change of mass from which these standard deviations are taken."""
GRAVITY_M_S2 = 9.81
ITERATIONS = 3


class PayloadFeatures(BaseGroup):
    """A rigid body at the payload site.

    rated_kg: rated mass; 0: any mass is possible.
    """

    sudden = removable = True

    def __init__(self, dynamics: ArmDynamics, rated_kg: float = 0.0) -> None:
        super().__init__(dynamics.dof, PAYLOAD_NAMES)
        self._dynamics, self.pools, self.bounded = dynamics, PAYLOAD_POOLS, rated_kg > 0.0
        self._least_kg, self._most_kg = -MASS_TOLERANCE * rated_kg, (2.0 + MASS_TOLERANCE) * rated_kg

    def possible(self, z: Array, variance: Array) -> bool:
        margin_kg = math.sqrt(max(variance[0], 0.0))
        return not self.bounded or bool(self._least_kg - margin_kg < z[0] < self._most_kg + margin_kg)

    def existing(self, z: Array) -> Array:
        return existing_body(z) if self.bounded else z

    def unexplained(self, force: Array, xi: Xi, z: Array, scale: Array) -> Array:
        """Part of a force that no change to a payload within the bounds explains.

        A change π of mass and first moment acts as -Y π. The moment is limited by the mass, as is the horizontal force
        of a payload that swings. Both are estimated by regularised least squares, then the mass is put into its bounds.
        """
        if not self.bounded:
            return force
        y = -self._dynamics.attached_regressor(xi.q[0], xi.v[0], xi.a[0])[:, :4]
        columns = np.hstack([y, self._dynamics.site_jacobian(xi.q[0])[:2].T])
        least_kg, most_kg = -max(z[0], 0.0), self._most_kg - z[0]
        mass_kg = 0.0
        for _ in range(ITERATIONS):
            std = np.concatenate([[most_kg], _slack(mass_kg)])
            mass_kg = float(np.clip(_ridge(columns, force, std, scale)[0], least_kg, most_kg))
        rest = force - columns[:, 0] * mass_kg
        return np.asarray(rest - columns[:, 1:] @ _ridge(columns[:, 1:], rest, _slack(mass_kg), scale))

    def design(self, xi: Xi) -> Array:
        if len(xi.q) == 1:
            return -self._dynamics.attached_regressor(xi.q[0], xi.v[0], xi.a[0])[None]
        return -self._dynamics.attached_regressors(xi.q, xi.v, xi.a)

    def impulse(self, interval: Interval) -> Array:
        return interval.balance.attached_impulse

    def impulses(self, series: Series) -> Array:
        q, v, n = series.q, series.v, series.q.shape[2]
        by_momentum, by_beta = (
            x.reshape(*q.shape, -1)
            for x in self._dynamics.attached_momentum_regressors(q.reshape(-1, n), v.reshape(-1, n))
        )
        impulses = 0.5 * series.dt * (by_beta[:, 1:] + by_beta[:, :-1]) - np.diff(by_momentum, axis=1)
        return np.asarray(impulses.reshape(-1, n, len(self.names)))

    def attached(self, z: Array) -> Array:
        return z

    def value(self, xi: Xi, z: Array) -> Array:
        return -self._dynamics.attached_efforts(xi.q, xi.v, xi.a, z)

    def jacobian(self, xi: Xi, z: Array) -> Array:
        return -self._dynamics.attached_jacobian(xi.q, xi.v, xi.a, z)


def _slack(mass_kg: float) -> Array:
    """Standard deviations (5,) of the first moment [kg m] and the horizontal force [N] of a change of mass."""
    size = max(abs(mass_kg), LEAST_CHANGE_KG)
    return size * np.array([*3 * (REACH_M,), *2 * (SIDEWAYS * GRAVITY_M_S2,)])


def _ridge(columns: Array, force: Array, std: Array, scale: Array) -> Array:
    """Coefficients x ~ N(0, std²) of force = columns x + errors of the given scale (n,)."""
    scaled = columns * std / scale[:, None]
    return np.asarray(std * np.linalg.solve(scaled.T @ scaled + np.eye(len(std)), scaled.T @ (force / scale)))


SPEC = FeatureSpec(
    build=lambda robot, dynamics, checkpoint: PayloadFeatures(dynamics, robot.description.payload.rated_mass_kg),
    truth=lambda robot, task: task.payload.inertial_parameters(),
    inertial=True,
)
