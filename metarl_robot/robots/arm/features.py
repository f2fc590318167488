# SPDX-License-Identifier: Apache-2.0
"""Features of an arm's residual Δ = Φ(ξ) z, ξ = (q, v, a, τ). See adaptation/features.py.

payload     Δ = -Y(q, v, a) π            ten inertial parameters at the payload site
friction    Δ = -c tanh(v / v_s) - b v   Coulomb and viscous, per joint
motor       Δ = ε τ                      motor strength 1 + ε, per joint
latency     Δ = (τ_{k-1} - τ_k) c_1 + (τ_{k-2} - τ_k) c_2
                                         a delayed command, exact for delays up to two periods
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.features import BaseGroup, Interval, Xi
from metarl_robot.robots.arm.dynamics import ArmDynamics
from metarl_robot.robots.payload import PAYLOAD_NAMES

Array = NDArray[np.float64]

COULOMB_VELOCITY_RAD_S = 0.02


class PayloadFeatures(BaseGroup):
    """A rigid body at the payload site.

    The momentum form ∫Δ dt = -(p_π1 - p_π0) + ∫β_π dt needs no acceleration.
    """

    def __init__(self, dynamics: ArmDynamics) -> None:
        super().__init__(dynamics.dof, PAYLOAD_NAMES)
        self._dynamics = dynamics

    def design(self, xi: Xi) -> Array:
        if len(xi.q) == 1:
            return -self._dynamics.attached_regressor(xi.q[0], xi.v[0], xi.a[0])[None]
        return -self._dynamics.attached_regressors(xi.q, xi.v, xi.a)

    def impulse(self, interval: Interval) -> Array:
        return interval.balance.attached_impulse

    def attached(self, z: Array) -> Array:
        return z

    def value(self, xi: Xi, z: Array) -> Array:
        return -self._dynamics.attached_efforts(xi.q, xi.v, xi.a, z)

    def jacobian(self, xi: Xi, z: Array) -> Array:
        return -self._dynamics.attached_jacobian(xi.q, xi.v, xi.a, z)


class FrictionFeatures(BaseGroup):
    """Coulomb friction, smoothed by tanh(v / v_s), and viscous friction, per joint."""

    def __init__(self, dof: int) -> None:
        coulomb = tuple(f"coulomb_{i + 1}_nm" for i in range(dof))
        super().__init__(dof, coulomb + tuple(f"viscous_{i + 1}_nm_s" for i in range(dof)))
        self._impulse = np.zeros((dof, 2 * dof))
        self._coulomb, self._viscous = (self._impulse.reshape(-1)[start :: 2 * dof + 1] for start in (0, dof))

    def design(self, xi: Xi) -> Array:
        n, joints = self._dof, np.arange(self._dof)
        phi = np.zeros((len(xi.v), n, 2 * n))
        phi[:, joints, joints] = -np.tanh(xi.v / COULOMB_VELOCITY_RAD_S)
        phi[:, joints, n + joints] = -xi.v
        return phi

    def impulse(self, interval: Interval) -> Array:
        v = interval.balance.v_mean
        np.multiply(np.tanh(v / COULOMB_VELOCITY_RAD_S), -interval.dt, out=self._coulomb)
        np.multiply(v, -interval.dt, out=self._viscous)
        return self._impulse

    def value(self, xi: Xi, z: Array) -> Array:
        return -z[: self._dof] * np.tanh(xi.v / COULOMB_VELOCITY_RAD_S) - z[self._dof :] * xi.v

    def jacobian(self, xi: Xi, z: Array) -> Array:
        n, joints = self._dof, np.arange(self._dof)
        slope = (1.0 - np.tanh(xi.v / COULOMB_VELOCITY_RAD_S) ** 2) / COULOMB_VELOCITY_RAD_S
        jacobian = np.zeros((len(xi.v), n, 3 * n))
        jacobian[:, joints, n + joints] = -z[:n] * slope - z[n:]
        return jacobian


class MotorFeatures(BaseGroup):
    """Motor strength 1 + ε per joint."""

    def __init__(self, dof: int) -> None:
        super().__init__(dof, tuple(f"motor_{i + 1}_strength_error" for i in range(dof)))
        self._impulse = np.zeros((dof, dof))
        self._diagonal = self._impulse.reshape(-1)[:: dof + 1]

    def design(self, xi: Xi) -> Array:
        n = self._dof
        phi = np.zeros((len(xi.effort), n, n))
        phi[:, np.arange(n), np.arange(n)] = xi.effort
        return phi

    def impulse(self, interval: Interval) -> Array:
        np.multiply(interval.effort, interval.dt, out=self._diagonal)
        return self._impulse

    def value(self, xi: Xi, z: Array) -> Array:
        return xi.effort * z

    def effort_gain(self, z: Array) -> Array:
        return z


class LatencyFeatures(BaseGroup):
    """Latency of up to two control periods: shares of the effort still set by the two older commands."""

    def __init__(self, dof: int) -> None:
        super().__init__(dof, ("latency_one_period_share", "latency_two_periods_share"))

    def design(self, xi: Xi) -> Array:
        return np.moveaxis(xi.past_effort - xi.effort, 0, 2)

    def value(self, xi: Xi, z: Array) -> Array:
        return np.asarray(np.einsum("mkn,m->kn", xi.past_effort - xi.effort, z))
