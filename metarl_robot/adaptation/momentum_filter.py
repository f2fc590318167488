"""Recursive Bayesian estimation of context and disturbance from momentum, without differentiating anything.

With p = M(q) v, the dynamics M v̇ + h = τ + Φ(ξ) z + d read ṗ = τ + β(q, v) + Φ z + d. A Kalman filter over (p, d, z) takes
the measured momentum M(q) v_meas once per control period:

    p_k = p_{k-1} + dt (τ + β + Φ z + d)
    d_k = d_{k-1} + w_d               what the features cannot explain: a momentum observer (De Luca, Mattone 2003)
    z_k = z_{k-1}                     context, prior z ~ N(z_0, P_0): the Bayesian last layer (Harrison, Sharma, Pavone 2018)
    y_k = p_k + M n_k                 n_k ~ N(0, σ_v²)

Measured velocities are noisy but their noise telescopes in momentum; that is the MA(1) correlation that regressions on
differentiated velocities get wrong. Two mechanisms let the context change:

    forgetting    P_zz ← a² P_zz + (1 - a²) P_0, a = exp(-dt / T): towards the prior's covariance, never beyond
    surprise      if the normalised innovation is improbable, the entries that can jump get their prior covariance back
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.features import FeatureMap, Xi
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
        self._p, self._d = slice(0, self._n), slice(self._n, 2 * self._n)
        self._use(features, prior)
        self.reset()

    def _use(self, features: FeatureMap, prior: Prior) -> None:
        """Start from this prior; momentum and disturbance unknown."""
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
        self._last: State | None = None
        self._velocity = np.zeros(self._n)
        self._acceleration = np.zeros(self._n)
        self._past_effort = np.zeros((2, 1, self._n))
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
        return self._velocity if self._last is not None else measured

    def update(self, state: State, effort: Array, dt: float) -> Context:
        mass, momentum, _ = self._dynamics.momentum(state.q, state.v)
        noise = self._tuning.velocity_noise**2 * (mass @ mass)
        if self._last is None:
            self._past_effort[:] = effort
            self._start(momentum, noise, state)
        else:
            mass, momentum = mass.copy(), momentum.copy()
            before = self._mean.copy(), self._covariance.copy()
            self._quiet_s -= dt
            surprise = self._filter(state, effort, dt, mass, momentum, noise)
            if self._tuning.surprise > 0 and surprise > self._tuning.surprise and self._quiet_s <= 0.0:
                self._quiet_s = REFRACTORY_S
                self._mean, self._covariance = before
                self._doubt()
                self._acceleration = (state.v - self._velocity) / dt
                self._filter(state, effort, dt, mass, momentum, noise)
            self._past_effort[1] = self._past_effort[0]
            self._past_effort[0] = effort
        velocity = np.linalg.solve(mass, self._mean[self._p])
        self._acceleration = (velocity - self._velocity) / dt if self._last is not None else np.zeros(self._n)
        self._velocity = velocity
        self._last = State(state.q.copy(), state.v.copy())
        return self.context

    def _start(self, momentum: Array, noise: Array, state: State) -> None:
        self._mean[self._p] = momentum
        self._covariance[self._p, :] = 0.0
        self._covariance[:, self._p] = 0.0
        self._covariance[self._p, self._p] = noise

    def _filter(self, state: State, effort: Array, dt: float, mass: Array, momentum: Array, noise: Array) -> float:
        """One prediction and one correction; returns the normalised innovation (expected value 1)."""
        assert self._last is not None
        q_mid = 0.5 * (self._last.q + state.q)
        v_mid = self._velocity + 0.5 * dt * self._acceleration
        xi = Xi(q_mid[None], v_mid[None], self._acceleration[None], effort[None], self._past_effort)
        phi = self._features.design(xi)[0]
        beta = self._dynamics.momentum(q_mid, v_mid)[2]
        self._predict(phi, effort + beta, dt)
        p = self._covariance
        s = p[self._p, self._p] + noise
        innovation = momentum - self._mean[self._p]
        gain_t = np.linalg.solve(s, p[self._p, :])
        normalised = float(innovation @ np.linalg.solve(s, innovation)) / self._n
        self._mean = self._mean + innovation @ gain_t
        p -= p[:, self._p] @ gain_t
        self._covariance = 0.5 * (p + p.T)
        return normalised

    def _predict(self, phi: Array, known: Array, dt: float) -> None:
        mean, p = self._mean, self._covariance
        mean[self._p] += dt * (known + mean[self._d] + phi @ mean[self._z])
        self._forget(dt)
        row = p[self._p] + dt * (p[self._d] + phi @ p[self._z])
        corner = row[:, self._p] + dt * (row[:, self._d] + row[:, self._z] @ phi.T)
        p[self._p] = row
        p[:, self._p] = row.T
        p[self._p, self._p] = corner
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
