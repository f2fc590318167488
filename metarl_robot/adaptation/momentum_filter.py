# SPDX-License-Identifier: Apache-2.0
"""Recursive Bayesian estimation of context and disturbance from momentum, without differentiating anything.

The dynamics M v̇ + h = B u + Φ(ξ) z + d read, in momentum form (p = M v, ṗ = B u + β + Φ z + d), over one control
period

    (M_1 + M_z1) v_1 = (M_0 + M_z0) v_0 + dt (B u + β + d) + ∫Φ' z dt

where M_z is the inertia that the features add (a payload's) and Φ' what remains of them: no acceleration appears. A
Kalman filter over (q, v, d, e, z) predicts v_1 from it, with the disturbance d + e, and corrects with the measured
state:

    d_1 = d_0 + w_d               slow: a random walk, a momentum observer (De Luca, Mattone 2003); no offset remains
    e_1 = e^(-dt/T) e_0 + w_e     fast: model error that comes and goes (stiction), so that z is not asked to explain it
    z_1 = z_0                     context, prior z ~ N(z̄, P_0): the Bayesian last layer (Harrison, Sharma, Pavone 2018)
    y_1 = (q_1, v_1) + n          σ_q: encoder quantisation; σ_v estimated online
    f_1 = Rᵀ((v_1 - v_0) / dt - g) + n    where a floating base has an accelerometer

Positions may be curved (an attitude): the state holds their error, and what is known of q moves with it (error-state
filter).

The residual is thus measured by how far position and velocity went, with noise that telescopes from sample to sample;
regressions on differentiated velocities take that noise for white and lose by it. Encoders tell the velocity, over some
tens of milliseconds, far better than the velocity signal does. Which command acted is known up to a latency, which is
learned beside.

Two mechanisms let the context change:

    forgetting    P_zz ← a² P_zz + (1 - a²) P_0, a = exp(-dt / T_f): towards the prior's covariance, never beyond
    surprise      if the last innovations are no longer white, something jumped: the payload or the friction, or the
    payload is
                  gone, or the robot was struck. Each is a hypothesis, in which those entries get their prior covariance
                  back, or are zero; the sample of the surprise is taken in again, and those that follow, under each of
                  them, linearised about the context that explains them (iterated Kalman filter). The one with the most
                  evidence is believed; the others are dropped as theirs falls behind. At the start there are two: the
                  prior, and no payload
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.features import FeatureMap, Interval, Xi
from metarl_robot.adaptation.filter_algebra import Belief, Innovation, Motion, Wander, algebra
from metarl_robot.adaptation.stream import command_history, smooth, velocity_noise, whiteness
from metarl_robot.core.signals import Context, State
from metarl_robot.dynamics.protocols import Dynamics

Array = NDArray[np.float64]
IntArray = NDArray[np.intp]

DOUBT_S = (0.1, 0.5)
"""After the start and after a surprise: for at least, and at most this long, linearisation is iterated, hypotheses are
weighed and
no new surprise is looked for."""
DROPPED_BEHIND = 12.0
"""A hypothesis so much behind the best in log-evidence is dropped."""
DISPLACED = (0.01, 0.3)
"""Standard deviation of a displacement in position [rad] and velocity [rad/s]: an impact, a sample that was lost."""
RELINEARISATIONS = 1
SETTLED_SIGMAS = 0.3
"""Linearisation is iterated until the context stays within this many of the prior's standard deviations, at most so
often anew.
"""
EFFORT_MEMORY_S = 0.12
"""Smoothing of the effort from which motor strength is learned. The command carries the feedback's noise, which is
correlated
with the filter's own errors: learned from as it is, every motor seems too strong (instrumental variable; Söderström
1983)."""
ACCELERATION_MEMORY_S = 0.02
"""Smoothing of the acceleration that guesses where the robot will be."""
STD_CALIBRATION = 2.0
"""Reported standard deviations are the filter's times this: model errors last longer than it assumes. With 2 the
payload's mass lies
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
    """Context entries that may jump together: to anything that the prior allows, or to zero if what they describe is
    gone.
    """

    entries: IntArray
    gone: bool = False


@dataclass(frozen=True)
class FilterTuning:
    """Noise model of the momentum filter.

    period_s: usual time between samples [s].
    position_noise: (n,) measured position, standard deviation [rad, m].
    velocity_noise: measured velocity, standard deviation [rad/s, m/s] of each group of `noise_groups`: where its online
    estimate starts. noise_groups: how many consecutive velocities share one noise level. force_noise: measured specific
    force, standard deviation [m/s²]. drift: (n,) random walk of the slow disturbance d [Nm/√s]. drift_initial: (n,) its
    standard deviation at the start and after a surprise [Nm]. model_error: (n,) standard deviation of the fast
    disturbance e [Nm]; zero: none. model_error_memory_s: T [s]. stiction_factor: how much larger the model error is
    where a joint may stick. forgetting_s: time constant T_f of forgetting [s]. surprise: probability of innovations,
    were the model right, below which something has jumped; 0: never. jumps: what may happen; after a surprise each is a
    hypothesis.
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


class _Sample(NamedTuple):
    """What was measured and how well, the effort commanded since the last sample, and the time since.

    variance: of q, v and, where it was measured, of specific force; acting, doubt: (nu,) which effort acted, and its
    standard deviation.
    """

    state: State
    variance: Array
    acting: Array
    doubt: Array
    dt: float


class _Hypothesis(NamedTuple):
    """The belief if one set of entries jumped, and the log-likelihood of what came since."""

    belief: Belief
    evidence: float


class MomentumFilter:
    """Adapter: context z in the features' coordinates plus a disturbance observer on what remains.

    compiled: its algebra, and what it learns from the stream of samples, in C where there is a compiler; else in numpy.
    """

    def __init__(
        self, dynamics: Dynamics, features: FeatureMap, prior: Prior, tuning: FilterTuning, compiled: bool = True
    ) -> None:
        self._dynamics, self._tuning, self._n, self._compiled = dynamics, tuning, dynamics.dof, compiled
        self._q, self._v, self._d, self._e = (slice(i * self._n, (i + 1) * self._n) for i in range(4))
        self._group = np.repeat(np.arange(len(tuning.noise_groups)), tuning.noise_groups)
        self._variance = np.concatenate(
            [tuning.position_noise**2, np.zeros(self._n), np.full(3, tuning.force_noise**2)]
        )
        self._whiteness = whiteness(tuning.surprise if tuning.jumps else 0.0, 2 * self._n, 3, compiled)
        self._use(features, prior)
        self.reset()

    def _use(self, features: FeatureMap, prior: Prior) -> None:
        """Start from this prior; velocity and disturbance unknown."""
        n, k, tuning = self._n, features.size, self._tuning
        self._features, self._prior = features, prior
        self._z = slice(4 * n, 4 * n + k)
        self._prior_std = np.sqrt(np.diagonal(prior.covariance)) + 1e-12
        self._settled = SETTLED_SIGMAS * self._prior_std
        self._centre, self._plausible = np.zeros(4 * n + k), np.full(4 * n + k, np.finfo(float).max)
        self._centre[self._z], self._plausible[self._z] = (
            prior.mean,
            PLAUSIBLE_SIGMAS * np.sqrt(np.diagonal(prior.covariance)) + 1e-9,
        )
        wander = Wander(
            tuning.drift,
            tuning.model_error,
            tuning.model_error_memory_s,
            tuning.stiction_factor,
            prior.covariance,
            tuning.forgetting_s,
        )
        self._algebra = algebra(n, self._dynamics.nu, wander, self._compiled)
        self._belief = Belief(np.zeros(n), 4 * n + k)
        self._belief.mean[:], self._belief.covariance[:] = 0.0, 0.0
        self._belief.mean[self._z] = prior.mean
        self._belief.covariance[self._d, self._d] = np.diag(tuning.drift_initial**2)
        self._belief.covariance[self._e, self._e] = np.diag(tuning.model_error**2)
        self._belief.covariance[self._z, self._z] = prior.covariance

    def in_numpy(self) -> MomentumFilter:
        """A new filter like this one, its algebra and what it learns from the stream of samples in numpy."""
        return MomentumFilter(self._dynamics, self._features, self._prior, self._tuning, compiled=False)

    def reset(self) -> None:
        self._use(self._features, self._prior)
        self._started = False
        self._remember(np.zeros(self._dynamics.nu))
        self._noise = velocity_noise(self._tuning.velocity_noise, self._group, self._compiled)
        self._hypotheses: list[_Hypothesis] = []

    def _remember(self, effort: Array) -> None:
        """This was commanded for ever."""
        self._history = command_history(effort, self._tuning.period_s, self._compiled)
        self._smooth_effort = smooth(effort, EFFORT_MEMORY_S, self._compiled)

    @property
    def _context(self) -> Array:
        return self._belief.mean[self._z]

    @property
    def context(self) -> Context:
        std = STD_CALIBRATION * np.sqrt(np.maximum(self._belief.covariance.diagonal()[self._z], 0.0))
        return Context(self._features.names, self._context.copy(), std)

    @property
    def disturbance(self) -> Array:
        """D + e (n,) [Nm]: what the context does not explain."""
        return self._belief.mean[self._d] + self._belief.mean[self._e]

    def evaluate(self, xi: Xi) -> Array:
        return self._features.value(xi, self._context) + self.disturbance

    def jacobian(self, xi: Xi) -> Array:
        return self._features.jacobian(xi, self._context)

    def effort_gain(self) -> Array:
        return self._features.effort_gain(self._context)

    def payload(self) -> Array:
        return self._features.payload(self._context)

    @property
    def hypotheses(self) -> int:
        """How many are being weighed: none while nothing is in doubt."""
        return len(self._hypotheses)

    @property
    def latency_s(self) -> float:
        return self._history.latency_s

    def estimate(self, measured: State) -> State:
        if not self._started:
            return measured
        return State(self._belief.position.copy(), self._belief.mean[self._v].copy(), measured.specific_force)

    def update(self, state: State, effort: Array, dt: float) -> Context:
        if self._started:
            self._learn(state, effort, dt)
            self._start_over_if_implausible()
            self._history.update(effort, dt)
            self._smooth_effort.update(effort, dt)
        else:
            self._started = True
            self._remember(effort)
            self._start(state)
        return self.context

    def _start(self, state: State) -> None:
        """The prior is not the only hypothesis: there may be no payload."""
        self._locate(state)
        here = _Hypothesis(self._belief.copy(), 0.0)
        self._doubt([here, *(self._jumped(jump) for jump in self._tuning.jumps if jump.gone)])

    def _locate(self, state: State) -> None:
        """Position and velocity as measured, whatever was thought of them."""
        known, belief = slice(0, 2 * self._n), self._belief
        belief.position, belief.mean[self._q], belief.mean[self._v] = state.q, 0.0, state.v
        self._acceleration = np.zeros(self._n)
        belief.covariance[known, :] = 0.0
        belief.covariance[:, known] = 0.0
        belief.covariance[known, known] = np.diag(self._measurement_variance(felt=False))

    def _measurement_variance(self, felt: bool) -> Array:
        """Of q, v (2n,) and, if felt, specific force (3,)."""
        self._variance[self._v] = self._noise.variance[self._group]
        return self._variance if felt else self._variance[: 2 * self._n]

    def _learn(self, state: State, effort: Array, dt: float) -> None:
        if dt > LONGEST_INTERVAL_S:
            self._locate(state)
            self._doubt([])
            return
        self._noise.update(state.v, dt)
        variance = self._measurement_variance(state.specific_force is not None)
        sample = _Sample(state, variance, *self._history.acting(effort, dt), dt)
        if not self._hypotheses:
            after, _ = self._filter(self._belief, sample, self._context)
            if not self._whiteness.fails(self._algebra.white):
                self._belief = after
                self._history.learn(self._algebra.white, self._algebra.response, dt)
                return
            self._doubt([self._displaced(), *map(self._jumped, self._tuning.jumps)])
        self._weigh(sample)

    def _doubt(self, hypotheses: list[_Hypothesis]) -> None:
        """From now on each of these may be true."""
        self._doubted_s = 0.0
        self._whiteness.clear()
        self._hypotheses = hypotheses

    def _weigh(self, sample: _Sample) -> None:
        """Take a sample in under every hypothesis, and believe the one with the most evidence."""
        once = [
            (hypothesis, self._given(hypothesis, hypothesis.belief.mean[self._z], sample))
            for hypothesis in self._hypotheses
        ]
        weighed = [self._relinearised(*pair, sample) for pair in _likely(once)]
        self._belief = max(weighed, key=lambda hypothesis: hypothesis.evidence).belief
        self._doubted_s += sample.dt
        self._hypotheses = weighed if self._doubted_s < DOUBT_S[len(weighed) > 1] else []

    def _given(self, hypothesis: _Hypothesis, about: Array, sample: _Sample) -> _Hypothesis:
        """The hypothesis after a sample, linearised about a context."""
        belief, likelihood = self._filter(hypothesis.belief, sample, about)
        return _Hypothesis(belief, hypothesis.evidence + likelihood)

    def _relinearised(self, before: _Hypothesis, after: _Hypothesis, sample: _Sample) -> _Hypothesis:
        """The same, linearised about the context that came out, until it stays."""
        about = before.belief.mean[self._z]
        for _ in range(RELINEARISATIONS):
            came_out = after.belief.mean[self._z]
            if np.count_nonzero(np.abs(came_out - about) < self._settled) == len(about):
                break
            about = came_out
            after = self._given(before, about, sample)
        return after

    def _filter(self, before: Belief, sample: _Sample, about: Array) -> tuple[Belief, float]:
        """One prediction, linearised about a context, and one correction.

        Returns:
            What is believed then, and the sample's log-likelihood, but for a constant.
        """
        after = self._predicted(before, sample, about)
        likelihood = self._algebra.correct(before, after, self._innovation(after, sample), sample.dt)
        after.position, after.mean[self._q] = self._dynamics.retract(after.position, after.mean[self._q]), 0.0
        return after, likelihood

    def _innovation(self, predicted: Belief, sample: _Sample) -> Innovation:
        """At the predicted position, to which the belief moves."""
        state, value = sample.state, np.empty(len(sample.variance))
        predicted.position, off, felt = self._dynamics.expected(predicted.position, predicted.mean[self._q], state.q)
        predicted.mean[self._q] = 0.0
        value[self._q], value[self._v] = off, state.v - predicted.mean[self._v]
        if felt is None or state.specific_force is None:
            return Innovation(value, sample.variance, None)
        by_acceleration, at_rest = felt
        value[2 * self._n :] = state.specific_force - at_rest
        return Innovation(value, sample.variance, by_acceleration)

    def _predicted(self, before: Belief, sample: _Sample, about: Array) -> Belief:
        """At the next sample, linearised about a context.

        Regressors are taken on the way to a guess of v_1, by the latest accelerations; the momentum that is missing
        there gives v_1.
        """
        dt, q_0, v_0, smooth = sample.dt, before.position, before.mean[self._v], self._smooth_effort.level
        guess = v_0 + dt * self._acceleration
        there = self._dynamics.balance(q_0, v_0, guess, dt, self._features.carried(about))
        impulse = self._features.impulse(Interval(q_0, v_0, guess, smooth, self._history.last_two, dt, there))
        gain, added = self._features.effort_gain(about), there.payload_inertia
        motion = Motion(
            guess,
            there.mass,
            added,
            there.deficit,
            impulse,
            there.input_map,
            sample.acting,
            sample.doubt,
            smooth,
            gain,
            about,
        )
        after = self._algebra.predict(before, motion, dt)
        self._acceleration += (1.0 - exp(-dt / ACCELERATION_MEMORY_S)) * (
            (after.mean[self._v] - v_0) / dt - self._acceleration
        )
        return after

    def _jumped(self, jump: Jump) -> _Hypothesis:
        """What would be known if these entries had jumped, whatever the others (motor strength, say) are."""
        belief = self._belief.copy()
        entries, drift = self._z.start + jump.entries, np.arange(self._d.start, self._d.stop)
        prior = self._prior.covariance[np.ix_(jump.entries, jump.entries)]
        if jump.gone:
            belief.mean[entries], prior = 0.0, np.zeros_like(prior)
        for which, own in ((entries, prior), (drift, np.diag(self._tuning.drift_initial**2))):
            belief.covariance[which, :] = 0.0
            belief.covariance[:, which] = 0.0
            belief.covariance[np.ix_(which, which)] = own
        return _Hypothesis(belief, 0.0)

    def _displaced(self) -> _Hypothesis:
        """What would be known if the robot had been struck, or a sample lost, and nothing else had changed."""
        belief = self._belief.copy()
        belief.covariance[self._q, self._q] += DISPLACED[0] ** 2 * np.eye(self._n)
        belief.covariance[self._v, self._v] += DISPLACED[1] ** 2 * np.eye(self._n)
        return _Hypothesis(belief, 0.0)

    def _start_over_if_implausible(self) -> None:
        away = np.abs(self._belief.mean - self._centre)
        if np.count_nonzero(away <= self._plausible) < len(away):  # nor where it is not finite
            self._use(self._features, self._prior)
            self._started = False


def _likely(pairs: list[tuple[_Hypothesis, _Hypothesis]]) -> list[tuple[_Hypothesis, _Hypothesis]]:
    """Those (before, after) a sample that are not far behind the best."""
    best = max(after.evidence for _, after in pairs)
    return [pair for pair in pairs if pair[1].evidence > best - DROPPED_BEHIND]
