"""Recursive Bayesian estimation of context and disturbance from momentum, without differentiating anything.

The dynamics M v̇ + h = τ + Φ(ξ) z + d read, in momentum form (p = M v, ṗ = τ + β + Φ z + d), over one control period

    (M_1 + M_z1) v_1 = (M_0 + M_z0) v_0 + dt (τ + β + d) + ∫Φ' z dt

where M_z is the inertia that the features add (a payload's) and Φ' what remains of them: no acceleration appears. A Kalman
filter over (v, d, z) predicts v_1 from it and corrects with the measured velocity:

    d_1 = d_0 + w_d               what the features cannot explain: a momentum observer (De Luca, Mattone 2003)
    z_1 = z_0                     context, prior z ~ N(z̄, P_0): the Bayesian last layer (Harrison, Sharma, Pavone 2018)
    y_1 = v_1 + n,                n ~ N(0, σ_v²)

The residual is thus measured by how far the velocity went, with noise that telescopes from sample to sample; regressions on
differentiated velocities take that noise for white and lose by it. Two mechanisms let the context change:

    forgetting    P_zz ← a² P_zz + (1 - a²) P_0, a = exp(-dt / T): towards the prior's covariance, never beyond
    surprise      if the normalised innovation is improbable, the entries that can jump get their prior covariance back
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.features import FeatureMap, Interval, Xi
from metarl_robot.dynamics.arm import ArmDynamics
from metarl_robot.signals import Context, State

Array = NDArray[np.float64]

REFRACTORY_S = 0.05
"""After a surprise, none is looked for until the reset estimate has settled."""


@dataclass(frozen=True)
class Prior:
    """z ~ N(mean, covariance): (n_z,), (n_z, n_z)."""

    mean: Array
    covariance: Array


@dataclass(frozen=True)
class FilterTuning:
    """Noise model of the momentum filter.

    velocity_noise: measured velocity, standard deviation [rad/s].
    disturbance_rate: (n,) random walk of the disturbance [Nm/√s].
    disturbance_initial: (n,) its standard deviation at the start and after a surprise [Nm].
    forgetting_s: time constant T of forgetting [s].
    surprise: normalised innovation (mean 1 when the model is right) above which the context is reset; 0 turns it off.
    jumps: (n_z,) which context entries a surprise may change; default none.
    """

    velocity_noise: float
    disturbance_rate: Array
    disturbance_initial: Array
    forgetting_s: float = 60.0
    surprise: float = 6.0
    jumps: Array | None = None


class MomentumFilter:
    """Adapter: context z in the features' coordinates plus a disturbance observer on what remains."""

    def __init__(self, dynamics: ArmDynamics, features: FeatureMap, prior: Prior, tuning: FilterTuning) -> None:
        self._dynamics, self._tuning, self._n = dynamics, tuning, dynamics.dof
        self._v, self._d = slice(0, self._n), slice(self._n, 2 * self._n)
        self._use(features, prior)
        self.reset()

    def _use(self, features: FeatureMap, prior: Prior) -> None:
        """Start from this prior; velocity and disturbance unknown."""
        n, k = self._n, features.size
        self._features, self._prior = features, prior
        self._z = slice(2 * n, 2 * n + k)
        self._jumps = np.zeros(k, dtype=bool) if self._tuning.jumps is None else self._tuning.jumps
        self._mean = np.zeros(2 * n + k)
        self._mean[self._z] = prior.mean
        self._covariance = np.zeros((2 * n + k, 2 * n + k))
        self._covariance[self._d, self._d] = np.diag(self._tuning.disturbance_initial**2)
        self._covariance[self._z, self._z] = prior.covariance

    def reset(self) -> None:
        self._use(self._features, self._prior)
        self._last_q: Array | None = None
        self._past_effort = np.zeros((2, self._n))
        self._quiet_s = 0.0

    @property
    def context(self) -> Context:
        std = np.sqrt(np.maximum(np.diagonal(self._covariance)[self._z], 0.0))
        return Context(self._features.names, self._mean[self._z].copy(), std)

    @property
    def disturbance(self) -> Array:
        """d (n,) [Nm]: what the context does not explain."""
        return self._mean[self._d].copy()

    def evaluate(self, xi: Xi) -> Array:
        return self._features.value(xi, self._mean[self._z]) + self._mean[self._d]

    def jacobian(self, xi: Xi) -> Array:
        return self._features.jacobian(xi, self._mean[self._z])

    def effort_gain(self) -> Array:
        return self._features.effort_gain(self._mean[self._z])

    def velocity(self, measured: Array) -> Array:
        return self._mean[self._v].copy() if self._last_q is not None else measured

    def update(self, state: State, effort: Array, dt: float) -> Context:
        if self._last_q is None:
            self._past_effort[:] = effort
            self._mean[self._v] = state.v
            self._covariance[self._v, self._v] = self._tuning.velocity_noise**2 * np.eye(self._n)
        else:
            self._learn(state, effort, dt)
            self._past_effort = np.stack([effort, self._past_effort[0]])
        self._last_q = state.q.copy()
        return self.context

    def _learn(self, state: State, effort: Array, dt: float) -> None:
        self._quiet_s -= dt
        before = self._mean.copy(), self._covariance.copy()
        surprise = self._filter(state, effort, dt)
        if 0.0 < self._tuning.surprise < surprise and self._quiet_s <= 0.0:
            self._quiet_s = REFRACTORY_S
            self._mean, self._covariance = before
            self._doubt()
            self._filter(state, effort, dt)

    def _filter(self, state: State, effort: Array, dt: float) -> float:
        """One prediction and one correction; returns the normalised innovation (expected value 1)."""
        self._predict(state.q, effort, dt)
        p, v = self._covariance, self._v
        innovation = state.v - self._mean[v]
        s = p[v, v] + self._tuning.velocity_noise**2 * np.eye(self._n)
        gain_t = np.linalg.solve(s, p[v])
        self._mean += innovation @ gain_t
        p -= p[:, v] @ gain_t
        self._covariance = 0.5 * (p + p.T)
        return float(innovation @ np.linalg.solve(s, innovation)) / self._n

    def _predict(self, q: Array, effort: Array, dt: float) -> None:
        assert self._last_q is not None
        mean, p = self._mean, self._covariance
        v_0, d, z = mean[self._v].copy(), mean[self._d], mean[self._z]
        mass_0, _, beta_0 = (x.copy() for x in self._dynamics.momentum(self._last_q, v_0))
        mass_1, _, beta_1 = self._dynamics.momentum(q, v_0)
        still = Interval(self._last_q, v_0, q, v_0, effort, self._past_effort, dt)
        push = (mass_0 - mass_1) @ v_0 + dt * (effort + 0.5 * (beta_0 + beta_1) + d) + self._features.impulse(still) @ z
        mobility = _mobility(mass_1.copy(), self._features.inertia(q, z))
        mean[self._v] += mobility @ push
        by_z = mobility @ self._features.impulse(replace(still, v_1=mean[self._v]))
        by_d = dt * mobility

        self._forget(dt)
        row = p[self._v] + by_d @ p[self._d] + by_z @ p[self._z]
        corner = row[:, self._v] + row[:, self._d] @ by_d.T + row[:, self._z] @ by_z.T
        p[self._v] = row
        p[:, self._v] = row.T
        p[self._v, self._v] = corner
        p[self._d, self._d] += np.diag(self._tuning.disturbance_rate**2 * dt)

    def _forget(self, dt: float) -> None:
        keep = np.exp(-dt / self._tuning.forgetting_s)
        p = self._covariance
        p[self._z, :] *= keep
        p[:, self._z] *= keep
        p[self._z, self._z] += (1.0 - keep**2) * self._prior.covariance

    def _doubt(self) -> None:
        """A surprise: what can jump may be anything again; what cannot (motor strength, say) stays known."""
        p, z = self._covariance, self._z
        jumped = np.flatnonzero(self._jumps)
        block = p[z, z]
        block[np.ix_(jumped, jumped)] += self._prior.covariance[np.ix_(jumped, jumped)]
        p[self._d, self._d] += np.diag(self._tuning.disturbance_initial**2)


def _mobility(mass: Array, added: Array) -> Array:
    """(M + M_z)⁻¹, or M⁻¹ while the estimate of M_z is not physical."""
    total = mass + added
    if added.any() and np.linalg.eigvalsh(total)[0] <= 0.0:
        total = mass
    return np.linalg.inv(total)
