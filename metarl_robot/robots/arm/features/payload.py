# SPDX-License-Identifier: Apache-2.0
"""Feature group of an arm's payload: Δ = -Y(q, v, a) π, ten inertial parameters at the payload site.

The momentum form ∫Δ dt = -(p_π1 - p_π0) + ∫β_π dt needs no acceleration.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from metarl_robot.adaptation.feature_spec import FeatureSpec
from metarl_robot.adaptation.features import BaseGroup, Interval, Series, Xi
from metarl_robot.robots.arm.description import Arm
from metarl_robot.robots.arm.dynamics import ArmDynamics
from metarl_robot.robots.payload import PAYLOAD_NAMES, PAYLOAD_POOLS
from metarl_robot.robots.rigid_body_parameters import existing_body, nearest_body

Array = NDArray[np.float64]


MASS_TOLERANCE = 0.25
"""Share of the rated mass by which an estimate may be negative, or exceed twice the rated mass.

Other features (motor strength) cause errors of this size just after a payload change.
"""
REACH_M = 0.3
"""Farthest centre of mass of an object that is picked up or put down, from the payload site."""
SIDEWAYS_M_S2 = 2.0
"""Largest horizontal force of a swinging payload per kilogram [m/s²]."""
PUT_DOWN = 2.0
"""At most this multiple of the estimated mass can be put down, because wrong link inertias can hide half of it."""


class PayloadFeatures(BaseGroup):
    """A rigid body at the payload site.

    rated_kg: rated mass; 0: any mass is possible.
    """

    sudden = removable = True

    def __init__(self, dynamics: ArmDynamics, rated_kg: float = 0.0) -> None:
        super().__init__(dynamics.dof, PAYLOAD_NAMES)
        self._dynamics, self.pools, self.bounded = dynamics, PAYLOAD_POOLS, rated_kg > 0.0
        nearest_body()
        self._least_kg, self._most_kg = -MASS_TOLERANCE * rated_kg, (2.0 + MASS_TOLERANCE) * rated_kg

    def possible(self, z: Array, variance: Array) -> bool:
        margin_kg = math.sqrt(max(variance[0], 0.0))
        return not self.bounded or bool(self._least_kg - margin_kg < z[0] < self._most_kg + margin_kg)

    def existing(self, z: Array) -> Array:
        return existing_body(z) if self.bounded else z

    def unexplained(self, force: Array, xi: Xi, z: Array, scale: Array) -> Array:
        """Part of a force that no change to a payload within the bounds explains.

        An object that is picked up or put down acts as ∓ m (Y_m + Y_h c), beside a horizontal force. With c and this
        force for each kilogram within a polytope, these are the forces of a cone, spanned by the columns for its
        corners.
        """
        if not self.bounded:
            return force
        y = -self._dynamics.attached_regressor(xi.q[0], xi.v[0], xi.a[0])[:, :4] / scale[:, None]
        sideways = self._dynamics.site_jacobian(xi.q[0])[:2].T / scale[:, None]
        corners = np.hstack([REACH_M * y[:, 1:], SIDEWAYS_M_S2 * sideways])
        rays = y[:, :1] + np.hstack([corners, -corners])
        wanted = force / scale
        rests = [
            wanted - sign * rays @ _at_most(_shares(sign * rays, wanted), most_kg)
            for sign, most_kg in ((1.0, self._most_kg - z[0]), (-1.0, PUT_DOWN * z[0]))
            if most_kg > 0.0
        ]
        return np.asarray(scale * min(rests, key=lambda rest: float(rest @ rest), default=wanted))

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


def _shares(rays: Array, wanted: Array) -> Array:
    """Shares >= 0 of rays with the sum nearest to a wanted force; zero if the solver fails."""
    try:
        return np.asarray(nnls(rays, wanted)[0])
    except (RuntimeError, ValueError):
        return np.zeros(rays.shape[1])


def _at_most(shares: Array, total: float) -> Array:
    """Shares, scaled down if their sum is above a total."""
    return shares * min(1.0, total / max(float(shares.sum()), 1e-12))


MASS_STD, DISTANCE_STD_M, GYRATION_M2 = 0.53, 0.033, (0.0045, 0.0015)
"""Prior without trained weights: as drawn in simulation (sim/arm/task.py: TRAIN).

Root mean square of the mass as a share of the rated mass, of each coordinate of the centre of mass, and of moments and
products of inertia for each kilogram.
"""


def _described_prior(robot: Arm) -> dict[str, tuple[float, float]]:
    mass, (moments, products) = MASS_STD * robot.description.payload.rated_mass_kg, GYRATION_M2
    shares = [1.0, *[DISTANCE_STD_M] * 3, *[moments] * 3, *[products] * 3]
    return {name: (0.0, mass * share) for name, share in zip(PAYLOAD_NAMES, shares, strict=True)}


SPEC = FeatureSpec(
    described_prior=_described_prior,
    build=lambda robot, dynamics, checkpoint: PayloadFeatures(dynamics, robot.description.payload.rated_mass_kg),
    truth=lambda robot, task: task.payload.inertial_parameters(),
    inertial=True,
)
