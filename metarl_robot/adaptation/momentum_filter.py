"""Recursive Bayesian estimation of context and disturbance from momentum, without differentiating anything.

The dynamics M v̇ + h = B u + Φ(ξ) z + d read, in momentum form (p = M v, ṗ = B u + β + Φ z + d), over one control period

    (M_1 + M_z1) v_1 = (M_0 + M_z0) v_0 + dt (B u + β + d) + ∫Φ' z dt

where M_z is the inertia that the features add (a payload's) and Φ' what remains of them: no acceleration appears. A Kalman
filter over (q, v, d, e, z) predicts v_1 from it, with the disturbance d + e, and corrects with the measured state:

    d_1 = d_0 + w_d               slow: a random walk, a momentum observer (De Luca, Mattone 2003); no offset remains
    e_1 = e^(-dt/T) e_0 + w_e     fast: model error that comes and goes (stiction), so that z is not asked to explain it
    z_1 = z_0                     context, prior z ~ N(z̄, P_0): the Bayesian last layer (Harrison, Sharma, Pavone 2018)
    y_1 = (q_1, v_1) + n          σ_q: encoder quantisation; σ_v estimated online
    f_1 = Rᵀ((v_1 - v_0) / dt - g) + n    where a floating base has an accelerometer

Positions may be curved (an attitude): the state holds their error, and what is known of q moves with it (error-state filter).

The residual is thus measured by how far position and velocity went, with noise that telescopes from sample to sample;
regressions on differentiated velocities take that noise for white and lose by it. Encoders tell the velocity, over some tens
of milliseconds, far better than the velocity signal does. Which command acted is known up to a latency, which is learned beside.

Two mechanisms let the context change:

    forgetting    P_zz ← a² P_zz + (1 - a²) P_0, a = exp(-dt / T_f): towards the prior's covariance, never beyond
    surprise      if the last innovations are no longer white, something jumped: the payload or the friction, or the payload is
                  gone, or the robot was struck. Each is a hypothesis, in which those entries get their prior covariance back, or
                  are zero; the sample of the surprise is taken in again, and those that follow, under each of them, linearised
                  about the context that explains them (iterated Kalman filter). The one with the most evidence is believed; the
                  others are dropped as theirs falls behind. At the start there are two: the prior, and no payload
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.features import FeatureMap, Interval, Xi
from metarl_robot.adaptation.stream import CommandHistory, Smooth, VelocityNoise, Whiteness
from metarl_robot.signals import Context, State

Array = NDArray[np.float64]
IntArray = NDArray[np.intp]

DOUBT_S = (0.1, 0.5)
"""After the start and after a surprise: for at least, and at most this long, linearisation is iterated, hypotheses are weighed and
no new surprise is looked for."""
DROPPED_BEHIND = 12.0
"""A hypothesis so much behind the best in log-evidence is dropped."""
DISPLACED = (0.01, 0.3)
"""Standard deviation of a displacement in position [rad] and velocity [rad/s]: an impact, a sample that was lost."""
RELINEARISATIONS = 1
SETTLED_SIGMAS = 0.3
"""Linearisation is iterated until the context stays within this many of the prior's standard deviations, at most so often anew."""
EFFORT_MEMORY_S = 0.12
"""Smoothing of the effort from which motor strength is learned. The command carries the feedback's noise, which is correlated
with the filter's own errors: learned from as it is, every motor seems too strong (instrumental variable; Söderström 1983)."""
ACCELERATION_MEMORY_S = 0.02
"""Smoothing of the acceleration that guesses where the robot will be."""
STICTION_VELOCITY_RAD_S = 0.05
"""A joint slower than this may stick, with any friction up to Coulomb's."""
STD_CALIBRATION = 2.0
"""Reported standard deviations are the filter's times this: model errors last longer than it assumes. With 2 the payload's mass lies
within two of them in 24 of 24 episodes (metarl eval panda --suite heldout --seeds 8)."""
PLAUSIBLE_SIGMAS = 8.0
"""A context farther from its prior than this is no estimate but a divergence."""
LONGEST_INTERVAL_S = 0.03
"""After a longer time without samples the robot is measured anew: nothing is learned from what happened meanwhile."""


@dataclass(frozen=True)
class Prior:
    """z ~ N(mean, covariance): (n_z,), (n_z, n_z)."""

    mean: Array
    covariance: Array


class Jump(NamedTuple):
    """Context entries that may jump together: to anything that the prior allows, or to zero if what they describe is gone."""

    entries: IntArray
    gone: bool = False


@dataclass(frozen=True)
class FilterTuning:
    """Noise model of the momentum filter.

    period_s: usual time between samples [s].
    position_noise: (n,) measured position, standard deviation [rad, m].
    velocity_noise: measured velocity, standard deviation [rad/s, m/s] of each group of `noise_groups`: where its online estimate starts.
    noise_groups: how many consecutive velocities share one noise level.
    force_noise: measured specific force, standard deviation [m/s²].
    drift: (n,) random walk of the slow disturbance d [Nm/√s].
    drift_initial: (n,) its standard deviation at the start and after a surprise [Nm].
    model_error: (n,) standard deviation of the fast disturbance e [Nm]; zero: none.
    model_error_memory_s: T [s].
    stiction_factor: how much larger the model error is where a joint may stick.
    forgetting_s: time constant T_f of forgetting [s].
    surprise: probability of innovations, were the model right, below which something has jumped; 0: never.
    jumps: what may happen; after a surprise each is a hypothesis.
    """

    period_s: float
    position_noise: Array
    velocity_noise: tuple[float, ...]
    noise_groups: tuple[int, ...]
    drift: Array
    drift_initial: Array
    model_error: Array
    force_noise: float = 1.0
    model_error_memory_s: float = 0.05
    stiction_factor: float = 0.0
    forgetting_s: float = 60.0
    surprise: float = 0.0
    jumps: tuple[Jump, ...] = ()


class Dynamics(Protocol):
    """What the filter asks of a robot's nominal dynamics; q (nq,), v (n,), n = dof."""

    dof: int
    nu: int

    def momentum(self, q: Array, v: Array) -> tuple[Array, Array, Array]:
        """M (n, n), p (n,) and β (n,). Overwritten by the next call."""
        ...

    def input_map(self, q: Array) -> Array:
        """B (n, nu): generalised force of unit efforts. Overwritten by the next call."""
        ...

    def retract(self, q: Array, change: Array) -> Array:
        """Q ⊞ δ."""
        ...

    def difference(self, q: Array, base: Array) -> Array:
        """δ with base ⊞ δ = q."""
        ...

    def specific_force(self, q: Array) -> tuple[Array, Array]:
        """(C (3, n), g (3,)): an accelerometer at pose q shows C v̇ + g [m/s²; body]."""
        ...


class _Sample(NamedTuple):
    """What was measured, the effort commanded since the last sample, and the time since."""

    state: State
    effort: Array
    dt: float


class _Hypothesis(NamedTuple):
    """Position, mean and covariance of the state if one set of entries jumped, and the log-likelihood of what came since."""

    position: Array
    mean: Array
    covariance: Array
    evidence: float


class MomentumFilter:
    """Adapter: context z in the features' coordinates plus a disturbance observer on what remains."""

    def __init__(self, dynamics: Dynamics, features: FeatureMap, prior: Prior, tuning: FilterTuning) -> None:
        self._dynamics, self._tuning, self._n = dynamics, tuning, dynamics.dof
        self._q, self._v, self._d, self._e = (slice(i * self._n, (i + 1) * self._n) for i in range(4))
        self._group = np.repeat(np.arange(len(tuning.noise_groups)), tuning.noise_groups)
        self._whiteness = Whiteness(tuning.surprise if tuning.jumps else 0.0, 2 * self._n)
        self._use(features, prior)
        self.reset()

    def _use(self, features: FeatureMap, prior: Prior) -> None:
        """Start from this prior; velocity and disturbance unknown."""
        n, k = self._n, features.size
        self._features, self._prior = features, prior
        self._z = slice(4 * n, 4 * n + k)
        self._prior_std = np.sqrt(np.diagonal(prior.covariance)) + 1e-12
        self._mean = np.zeros(4 * n + k)
        self._mean[self._z] = prior.mean
        self._covariance = np.zeros((4 * n + k, 4 * n + k))
        self._covariance[self._d, self._d] = np.diag(self._tuning.drift_initial**2)
        self._covariance[self._e, self._e] = np.diag(self._tuning.model_error**2)
        self._covariance[self._z, self._z] = prior.covariance

    def reset(self) -> None:
        self._use(self._features, self._prior)
        self._started = False
        self._history = CommandHistory(np.zeros(self._dynamics.nu), self._tuning.period_s)
        self._smooth_effort = Smooth(np.zeros(self._dynamics.nu), EFFORT_MEMORY_S)
        self._noise = VelocityNoise(self._tuning.velocity_noise, self._group)
        self._hypotheses: list[_Hypothesis] = []

    @property
    def context(self) -> Context:
        std = STD_CALIBRATION * np.sqrt(np.maximum(np.diagonal(self._covariance)[self._z], 0.0))
        return Context(self._features.names, self._mean[self._z].copy(), std)

    @property
    def disturbance(self) -> Array:
        """D + e (n,) [Nm]: what the context does not explain."""
        return self._mean[self._d] + self._mean[self._e]

    def evaluate(self, xi: Xi) -> Array:
        return self._features.value(xi, self._mean[self._z]) + self.disturbance

    def jacobian(self, xi: Xi) -> Array:
        return self._features.jacobian(xi, self._mean[self._z])

    def effort_gain(self) -> Array:
        return self._features.effort_gain(self._mean[self._z])

    def payload(self) -> Array:
        return self._features.payload(self._mean[self._z])

    @property
    def latency_s(self) -> float:
        return self._history.latency_s

    def estimate(self, measured: State) -> State:
        return State(self._position.copy(), self._mean[self._v].copy(), measured.specific_force) if self._started else measured

    def update(self, state: State, effort: Array, dt: float) -> Context:
        if self._started:
            self._learn(_Sample(state, effort, dt))
            self._start_over_if_implausible()
            self._history.update(effort, dt)
            self._smooth_effort.update(effort, dt)
        else:
            self._started = True
            self._history = CommandHistory(effort, self._tuning.period_s)
            self._smooth_effort = Smooth(effort, EFFORT_MEMORY_S)
            self._start(state)
        return self.context

    def _start(self, state: State) -> None:
        """The prior is not the only hypothesis: there may be no payload."""
        self._locate(state)
        here = _Hypothesis(self._position, self._mean.copy(), self._covariance.copy(), 0.0)
        self._doubt([here, *(self._jumped(jump) for jump in self._tuning.jumps if jump.gone)])

    def _locate(self, state: State) -> None:
        """Position and velocity as measured, whatever was thought of them."""
        known = slice(0, 2 * self._n)
        self._position, self._mean[self._q], self._mean[self._v] = state.q, 0.0, state.v
        self._acceleration = np.zeros(self._n)
        self._covariance[known, :] = 0.0
        self._covariance[:, known] = 0.0
        self._covariance[known, known] = np.diag(self._measurement_variance())

    def _measurement_variance(self) -> Array:
        """Of q and v (2n,)."""
        return np.concatenate([self._tuning.position_noise**2, self._noise.variance[self._group]])

    def _learn(self, sample: _Sample) -> None:
        if sample.dt > LONGEST_INTERVAL_S:
            self._locate(sample.state)
            self._doubt([])
            return
        self._noise.update(sample.state.v, sample.dt)
        if not self._hypotheses:
            before = self._position, self._mean.copy(), self._covariance.copy()
            _, white = self._filter(sample, self._mean[self._z].copy())
            if not self._whiteness.fails(white):
                self._history.learn(white, self._response, sample.dt)
                return
            self._position, self._mean, self._covariance = before
            self._doubt([self._displaced(), *map(self._jumped, self._tuning.jumps)])
        self._weigh(sample)

    def _doubt(self, hypotheses: list[_Hypothesis]) -> None:
        """From now on each of these may be true."""
        self._doubted_s = 0.0
        self._whiteness.clear()
        self._hypotheses = hypotheses

    def _weigh(self, sample: _Sample) -> None:
        """Take a sample in under every hypothesis, and believe the one with the most evidence."""
        once = [(hypothesis, self._given(hypothesis, hypothesis.mean[self._z], sample)) for hypothesis in self._hypotheses]
        weighed = [self._relinearised(*pair, sample) for pair in _likely(once)]
        best = max(weighed, key=lambda hypothesis: hypothesis.evidence)
        self._position, self._mean, self._covariance = best.position, best.mean.copy(), best.covariance.copy()
        self._doubted_s += sample.dt
        self._hypotheses = weighed if self._doubted_s < DOUBT_S[len(weighed) > 1] else []

    def _given(self, hypothesis: _Hypothesis, about: Array, sample: _Sample) -> _Hypothesis:
        """The hypothesis after a sample, linearised about a context."""
        self._position, self._mean, self._covariance = hypothesis.position, hypothesis.mean.copy(), hypothesis.covariance.copy()
        likelihood, _ = self._filter(sample, about)
        return _Hypothesis(self._position, self._mean, self._covariance, hypothesis.evidence + likelihood)

    def _relinearised(self, before: _Hypothesis, after: _Hypothesis, sample: _Sample) -> _Hypothesis:
        """The same, linearised about the context that came out, until it stays."""
        about = before.mean[self._z]
        for _ in range(RELINEARISATIONS):
            if np.max(np.abs(after.mean[self._z] - about) / self._prior_std, initial=0.0) < SETTLED_SIGMAS:
                break
            about = after.mean[self._z]
            after = self._given(before, about, sample)
        return after

    def _filter(self, sample: _Sample, about: Array) -> tuple[float, Array]:
        """One prediction, linearised about a context, and one correction.

        Returns:
            The sample's log-likelihood, but for a constant, and the whitened innovation (2n,).
        """
        v_0 = self._mean[self._v].copy()
        self._predict(sample.effort, sample.dt, about)
        p, n = self._covariance, self._n
        innovation = np.concatenate([self._dynamics.difference(sample.state.q, self._position), sample.state.v - self._mean[self._v]])
        reach, variance = p[: 2 * n], self._measurement_variance()
        spread = reach[:, : 2 * n].copy()
        by_effort = np.vstack([0.5 * sample.dt * self._by_effort, self._by_effort])
        if sample.state.specific_force is not None:
            by_v, gravity = self._dynamics.specific_force(self._position)
            by_v = by_v / sample.dt
            felt = sample.state.specific_force - gravity - by_v @ (self._mean[self._v] - v_0)
            by_d, by_z = by_v @ self._by_d, by_v @ self._by_z
            more = by_d @ (p[self._d] + p[self._e]) + by_z @ p[self._z]
            reach, innovation = np.vstack([reach, more]), np.concatenate([innovation, felt])
            across = (reach[:, self._d] + reach[:, self._e]) @ by_d.T + reach[:, self._z] @ by_z.T
            spread = np.hstack([reach[:, : 2 * n], across])
            variance = np.concatenate([variance, np.full(3, self._tuning.force_noise**2)])
            by_effort = np.vstack([by_effort, by_v @ self._by_effort])
        spread[np.diag_indices(len(spread))] += variance
        factor = np.linalg.cholesky(spread)
        whitener = np.linalg.inv(factor)
        white, reach = whitener @ innovation, whitener @ reach
        self._response = whitener @ by_effort
        self._mean += white @ reach
        p -= reach.T @ reach
        self._position = self._dynamics.retract(self._position, self._mean[self._q])
        self._mean[self._q] = 0.0
        return -0.5 * float(white @ white) - float(np.log(np.diagonal(factor)).sum()), white

    def _predict(self, effort: Array, dt: float, about: Array) -> None:
        """To the next sample, linearised about a context.

        Regressors are taken on the way to a guess of v_1, by the latest accelerations; the momentum that is missing there gives v_1.
        """
        mean, smooth = self._mean, self._smooth_effort.level
        q_0, v_0 = self._position, mean[self._v].copy()
        guess = v_0 + dt * self._acceleration
        q_1 = self._dynamics.retract(q_0, 0.5 * dt * (v_0 + guess))
        mass_0, _, beta_0 = (x.copy() for x in self._dynamics.momentum(q_0, v_0))
        mass_1, _, beta_1 = (x.copy() for x in self._dynamics.momentum(q_1, guess))
        impulse = self._features.impulse(Interval(q_0, v_0, q_1, guess, smooth, self._history.last_two, dt))
        mobility = _mobility(mass_1, self._features.inertia(q_1, about))
        acting, doubt = self._history.acting(effort, dt)
        gain = self._features.effort_gain(about)
        by_input = self._dynamics.input_map(self._dynamics.retract(q_0, 0.25 * dt * (v_0 + guess)))
        force = by_input @ (acting + gain * (acting - smooth)) + 0.5 * (beta_0 + beta_1) + self.disturbance
        missing = mass_0 @ v_0 - mass_1 @ guess + dt * force + impulse @ about
        self._by_d, self._by_z = by_d, by_z = dt * mobility, mobility @ impulse
        by_command = by_d @ by_input
        self._by_effort = by_command * (1.0 + gain)
        mean[self._v] = guess + mobility @ missing + by_z @ (mean[self._z] - about)
        self._position = self._dynamics.retract(q_0, 0.5 * dt * (v_0 + mean[self._v]))
        self._acceleration += (1.0 - np.exp(-dt / ACCELERATION_MEMORY_S)) * ((mean[self._v] - v_0) / dt - self._acceleration)

        self._wander(v_0, dt)
        self._propagate(by_d, by_z, dt)
        self._covariance[self._v, self._v] += (by_command * doubt**2) @ by_command.T

    def _propagate(self, by_d: Array, by_z: Array, dt: float) -> None:
        """P ← F P Fᵀ with δq_1 = δq_0 + dt/2 (δv_0 + δv_1), δv_1 = δv_0 + by_d (δd + δe) + by_z δz."""
        p = self._covariance
        for _ in range(2):
            v_1 = p[self._v] + by_d @ (p[self._d] + p[self._e]) + by_z @ p[self._z]
            p[self._q] += 0.5 * dt * (p[self._v] + v_1)
            p[self._v] = v_1
            p = p.T
        self._covariance = p

    def _wander(self, v: Array, dt: float) -> None:
        """What d, e and z may do on their own: drift, fade, be forgotten."""
        p, tuning = self._covariance, self._tuning
        fade, forget = np.exp(-dt / tuning.model_error_memory_s), np.exp(-dt / tuning.forgetting_s)
        keep = np.ones(len(p))
        keep[self._e], keep[self._z] = fade, forget
        self._mean[self._e] *= fade
        p *= keep
        p *= keep[:, None]
        sticking = np.exp(-((v / STICTION_VELOCITY_RAD_S) ** 2))
        added = np.concatenate(
            [tuning.drift**2 * dt, (1.0 - fade**2) * tuning.model_error**2 * (1.0 + tuning.stiction_factor**2 * sticking)]
        )
        disturbance = np.arange(self._d.start, self._e.stop)
        p[disturbance, disturbance] += added
        p[self._z, self._z] += (1.0 - forget**2) * self._prior.covariance

    def _jumped(self, jump: Jump) -> _Hypothesis:
        """What would be known if these entries had jumped, whatever the others (motor strength, say) are."""
        mean, covariance = self._mean.copy(), self._covariance.copy()
        entries, drift = self._z.start + jump.entries, np.arange(self._d.start, self._d.stop)
        prior = self._prior.covariance[np.ix_(jump.entries, jump.entries)]
        if jump.gone:
            mean[entries], prior = 0.0, np.zeros_like(prior)
        for which, own in ((entries, prior), (drift, np.diag(self._tuning.drift_initial**2))):
            covariance[which, :] = 0.0
            covariance[:, which] = 0.0
            covariance[np.ix_(which, which)] = own
        return _Hypothesis(self._position, mean, covariance, 0.0)

    def _displaced(self) -> _Hypothesis:
        """What would be known if the robot had been struck, or a sample lost, and nothing else had changed."""
        covariance = self._covariance.copy()
        covariance[self._q, self._q] += DISPLACED[0] ** 2 * np.eye(self._n)
        covariance[self._v, self._v] += DISPLACED[1] ** 2 * np.eye(self._n)
        return _Hypothesis(self._position, self._mean.copy(), covariance, 0.0)

    def _start_over_if_implausible(self) -> None:
        away = np.abs(self._mean[self._z] - self._prior.mean)
        if np.any(away > PLAUSIBLE_SIGMAS * np.sqrt(np.diagonal(self._prior.covariance)) + 1e-9) or not np.all(np.isfinite(self._mean)):
            self._use(self._features, self._prior)
            self._started = False


def _mobility(mass: Array, added: Array) -> Array:
    """(M + M_z)⁻¹, or M⁻¹ while the estimate of M_z is not physical."""
    total = mass + added
    try:
        np.linalg.cholesky(total)
    except np.linalg.LinAlgError:
        total = mass
    return np.asarray(np.linalg.inv(total), dtype=np.float64)


def _likely(pairs: list[tuple[_Hypothesis, _Hypothesis]]) -> list[tuple[_Hypothesis, _Hypothesis]]:
    """Those (before, after) a sample that are not far behind the best."""
    best = max(after.evidence for _, after in pairs)
    return [pair for pair in pairs if pair[1].evidence > best - DROPPED_BEHIND]
