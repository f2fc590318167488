# SPDX-License-Identifier: Apache-2.0
"""Recursive Bayesian estimation of context and disturbance from momentum, without differentiation.

Over one control period, the dynamics M v̇ + h = B u + Φ(ξ) z + d become in momentum form (p = M v, ṗ = B u + β + Φ z
+ d)

    (M_1 + M_z1) v_1 = (M_0 + M_z0) v_0 + dt (B u + β + d) + ∫Φ' z dt

where M_z is the inertia that the features add (an attached body's) and Φ' the remaining part of Φ. No acceleration
appears. A Kalman filter over (q, v, d, e, z) predicts v_1 from this balance, with the disturbance d + e, and corrects
with the measured state:

    d_1 = d_0 + w_d               slow: a random walk, a momentum observer (De Luca, Mattone 2003); no offset remains
    e_1 = e^(-dt/T) e_0 + w_e     fast: transient model error (stiction), kept apart from z
    z_1 = z_0                     context, prior z ~ N(z̄, P_0): the Bayesian last layer (Harrison, Sharma, Pavone 2018)
    y_1 = (q_1, v_1) + n          σ_q: encoder quantisation; σ_v estimated online
    f_1 = Rᵀ((v_1 - v_0) / dt - g) + n    if a floating base has an accelerometer

A joint at a stop gets a force that is neither context nor an external wrench, and that may be of any size. In such a
sample the momentum of this joint is not known: its prediction gets a wide variance along M⁻¹ e_j, so that the other
joints alone correct context and disturbance.

Positions may be curved (an attitude). The state holds their error, and the position estimate moves with it
(error-state filter).

The filter measures the residual by the change of position and velocity; this noise telescopes from sample to sample.
A regression on differentiated velocities would wrongly take it for white. Over some tens of milliseconds, encoders
measure the velocity far better than the velocity signal does. The command that acted is known up to a latency, which
is learned, too.

Control compensates d + e and a third part that the filter itself does not contain: the force that its predictions
missed, smoothed over 1/ω,

    c_1 = c_0 + (1 - e^(-ω dt)) (f - c_0)      f = (M_1 + M_z1) (v_1 corrected - v_1 predicted) / dt

It is a momentum observer around the filter, as quick as one without context. Where the context cannot explain the
residual (torque ripple, wrong inertias, friction of another shape), control is then no worse than with an observer
alone, while d and e may stay slow enough for the context to be learned.

Two mechanisms let the context change:

- Forgetting: P_zz ← a² P_zz + (1 - a²) P_0 with a = exp(-dt / T_f). The covariance approaches the prior's and never
  exceeds it.
- Change detection: a whiteness test on the last innovations detects a change. Each possible change becomes a
  hypothesis: the entries of a feature group jumped, a removable object was removed, or an impact moved the robot. In it
  the entries that changed get their prior covariance back, or are zero. The sample of the detection and those after it
  are processed under each hypothesis, linearised about the resulting context (iterated Kalman filter). The hypothesis
  with the most evidence gives the estimate; those that fall behind are dropped. At the start the hypotheses are the
  prior and, for each removable object, its absence. Further hypotheses: a model from before returns (`remembered`).

The reported variance is the filter's times 1 + |f / f_0|² / n, with the force f that the context does not explain
(d + e + c, averaged over a second) and a usual one f_0. As in a regression with an unknown noise variance, an estimate
is as uncertain as its residual is large: with a model error that lasts, innovations are small and P is too narrow.

Forgetting slows down with the age t of a model, T_f (1 + g² (t / t_s)²), as far as it explains the forces (g <= 1):
early samples, linearised about a context that was still wrong, lose their weight (Ljung, Söderström 1983, 5.6); later,
an unexcited context does not wander.

A robot may be unlike all machines of the training: no damping or rotor inertia is felt by torque sensors on the link's
side, friction is another. Until it has moved, each hypothesis has a twin with a wide prior for such a machine; the
evidence decides which of both priors is in force.

Noise levels are estimated online (noise_model.py), and priors that prove too narrow are widened (prior_scale.py). A
context that has diverged, or that changes again and again, returns to its prior, and is held there twice as long each
time.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, inf, sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.features import FeatureMap, Interval, Jump, Xi
from metarl_robot.adaptation.filter_algebra import Belief, Innovation, Motion, ProcessNoise, algebra
from metarl_robot.adaptation.noise_model import NoiseModel
from metarl_robot.adaptation.prior_scale import PriorScale
from metarl_robot.adaptation.stream import command_history, smooth, whiteness
from metarl_robot.core.signals import Context, State
from metarl_robot.dynamics.protocols import Dynamics

Array = NDArray[np.float64]

TESTED_S = (0.1, 0.5)
"""Shortest and longest time that hypotheses are tested, after the start and after a detected change.

Meanwhile the linearisation is iterated and no other change is looked for.
"""
DROPPED_BEHIND = 12.0
"""A hypothesis this far behind the best in log-evidence is dropped."""
STARTED = 10.0
"""Time constants of the start after which control gets the whole estimate."""
UNFAMILIAR_AHEAD = 10.0
"""Lead in log-evidence with which the prior of the training gives way to that of an unfamiliar machine, or back.

With 3, runs with physics of the training gave way, too: a heavy payload was held for a contact, 9 mm off. With 15, a
recording with half the damping was not recognised.
"""
UNFAMILIAR_SCALE = 2.0
"""Forces that model errors explain on an unfamiliar machine, as a multiple of those on others."""
MOVES_RAD_S, KNOWN_S = 0.1, 1.0
"""Once a robot has moved faster than the first for as long, it is known whether it is like those of the training."""
DISPLACED = (0.01, 0.3)
"""Standard deviation of a displacement in position [rad] and velocity [rad/s], from an impact or a lost sample."""
LATENCY_MARGIN = 6.0
"""Missed force is followed slower while the latency is not known: at half the bandwidth ω if its σ is 1 / (6 ω).

With 20 ms of latency that were not known yet, an arm was 33 mrad off.
"""
RELINEARISATIONS = 1
SETTLED_SIGMAS = 0.3
"""The linearisation is repeated at most RELINEARISATIONS times.

It stops once the context moves by less than SETTLED_SIGMAS of the prior's standard deviations.
"""
EFFORT_MEMORY_S = 0.12
"""Smoothing of the effort from which motor strength is learned.

The command carries feedback noise that is correlated with the filter's errors. Without smoothing, every motor would
seem too strong (instrumental variable; Söderström 1983).
"""
ACCELERATION_MEMORY_S = 0.02
"""Smoothing of the acceleration that predicts the next velocity."""
REGRESSOR_MEMORY_S = 0.2
"""Smoothing of the acceleration, without lag on ramps, at which the regressors of an unfamiliar machine are evaluated.

An error of v_0 is also one of the latest accelerations. With 0.02, inertias would seem too large (errors in variables):
a rotor inertia of -0.1 kg m² was estimated as 0 ± 0.01 on a recording. On a fast arm like those of the training, 0.2
makes the tracking error larger.
"""
STD_CALIBRATION = 2.0
"""Factor from the filter's standard deviations to the reported ones, where `usual_force` does not scale them.

Model errors last longer than the filter assumes.
"""
FORCE_MEMORY_S, LARGEST_FORCE = 1.0, 5.0
"""The unexplained force is averaged over the first; it counts at most as this many usual ones."""
MOST_STEADY = 30.0
"""A model that has lasted is forgotten slower by at most this factor."""
WELL_EXPLAINED = 3.0
"""Beyond this mean square of the unexplained force, in usual ones, a model is wrong, and forgotten as a new one is."""
DIFFERENT_SIGMAS = 0.1
"""Contexts that differ by less of the prior's standard deviations give the same force."""
ALARM_MEMORY_S, MOST_ALARMS = 2.0, 4.0
"""With more detected changes than MOST_ALARMS within about ALARM_MEMORY_S, the filter returns to its prior.

Its model is then wrong, and the robot oscillates; each further change feeds the oscillation.
"""
FIRST_HOLD_S, LONGEST_HOLD_S = 0.5, 60.0
"""After a restart the context stays at its prior for as long, twice as long after each further restart."""
STOP_WITHIN, STOP_VELOCITY = 5e-3, 10.0
"""A joint may touch a stop as near to its position limit [rad, m]; the stop may change its velocity by about the second
[rad/s, m/s] in one sample."""
LONGEST_INTERVAL_S, LONGEST_PERIODS = 0.03, 1.5
"""After a longer gap, position and velocity are those measured; the filter learns nothing from the gap."""


_NONE = np.zeros(0, dtype=np.intp)


@dataclass(frozen=True)
class Prior:
    """z ~ N(mean, covariance): (n_z,), (n_z, n_z)."""

    mean: Array
    covariance: Array


@dataclass(frozen=True)
class FilterTuning:
    """Noise model of the momentum filter.

    period_s: usual time between samples [s].
    position_noise: (n,) standard deviation of the measured position [rad, m].
    velocity_noise: initial standard deviation of the measured velocity, for each group of `noise_groups` [rad/s,
        m/s]; estimated online.
    noise_groups: number of consecutive velocities that share one noise level, for each group.
    force_noise: standard deviation of the measured specific force [m/s²].
    drift: (n,) random walk of the slow disturbance d [Nm/√s].
    drift_initial: (n,) standard deviation of d at the start and after a detected change [Nm].
    model_error: (n,) standard deviation of the fast disturbance e [Nm]; zero: none.
    model_error_memory_s: T [s].
    stiction_factor: increase of the model error where a joint may stick.
    forgetting_s: time constant T_f of forgetting [s].
    change_detection: false-alarm probability of the change detection; 0: no detection.
    jumps: possible changes; after a detection each becomes a hypothesis.
    noise_online: whether noise of positions, stamps and efforts and the model error are estimated online. The levels
        above are then the least.
    missed_force_bandwidth_rad_s: ω of the observer of missed force; 0: none.
    start_s: time constant with which control passes from the nominal model to the estimate after the start; 0: at once.
    usual_force: (n,) unexplained force with which the reported variance is twice the filter's [Nm]; None: the reported
        standard deviation is STD_CALIBRATION times the filter's.
    settling_s: age of a model from which on it is forgotten slower; infinite: never.
    stops: (2, n) least and largest position, where a stop may act [rad, m]; None: no stops.
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
    change_detection: float = 0.0
    jumps: tuple[Jump, ...] = ()
    noise_online: bool = False
    missed_force_bandwidth_rad_s: float = 0.0
    start_s: float = 0.0
    usual_force: Array | None = None
    settling_s: float = inf
    stops: Array | None = None


class _Sample(NamedTuple):
    """A measurement and its noise, the effort since the last sample, and the time since.

    variance: of q, v and, if measured, of specific force. common: standard deviation of the noise that they share.
    acting, effort_std: (nu,) effort that acted, and its standard deviation.
    stopped: velocities on which a stop may have acted.
    """

    state: State
    variance: Array
    common: Array
    acting: Array
    effort_std: Array
    dt: float
    stopped: NDArray[np.intp]


class _Corrected(NamedTuple):
    """State estimate after a sample, the sample's log-likelihood, and the force (n,) that the prediction missed."""

    belief: Belief
    likelihood: float
    missed: Array


class _Hypothesis(NamedTuple):
    """State estimate if one set of entries jumped, and the log-likelihood of the samples since.

    missed: (n,) force that the last prediction missed; 0: none yet. white, response: whitened innovation of the last
    sample, and its response to efforts; None: none yet. unfamiliar: whether the machine is unlike those of the
    training.
    """

    belief: Belief
    evidence: float
    missed: Array | float = 0.0
    white: Array | None = None
    response: Array | None = None
    unfamiliar: bool = False


class MomentumFilter:
    """Adapter: context z in the features' coordinates, plus a disturbance observer for the rest.

    detections: number of detected changes and of restarts since the reset. restarts: number of returns to the prior.

    compiled: run the algebra and the stream statistics in C if there is a compiler, else in numpy.
    remembered: models from before, each a hypothesis after a detected change. unfamiliar: whether the machine is unlike
    those of the training; the argument is the prior on such a machine, None: the same.
    """

    def __init__(
        self,
        dynamics: Dynamics,
        features: FeatureMap,
        prior: Prior,
        tuning: FilterTuning,
        compiled: bool = True,
        unfamiliar: Prior | None = None,
    ) -> None:
        self._unfamiliar_prior = unfamiliar
        self._dynamics, self._tuning, self._n, self._compiled = dynamics, tuning, dynamics.dof, compiled
        self._q, self._v, self._d, self._e = (slice(i * self._n, (i + 1) * self._n) for i in range(4))
        self._whiteness = whiteness(tuning.change_detection if tuning.jumps else 0.0, 2 * self._n, 3, compiled)
        self.remembered: tuple[Belief, ...] = ()
        self._since_s, self._share = 0.0, self._share_now(0.0)
        self._use(features, prior)
        self.reset()

    def _use(self, features: FeatureMap, prior: Prior) -> None:
        """Start from this prior; velocity and disturbance unknown."""
        n, k, tuning = self._n, features.size, self._tuning
        self._features, self._prior = features, prior
        self._z = slice(4 * n, 4 * n + k)
        self._prior_std = np.sqrt(np.diagonal(prior.covariance)) + 1e-12
        self._settled, self._different = SETTLED_SIGMAS * self._prior_std, DIFFERENT_SIGMAS * self._prior_std
        self.unfamiliar, self._moved_s = False, 0.0
        self._scales = [
            PriorScale(given.mean, given.covariance, features.heavy_tailed, self._z.start)
            for given in (prior, self._unfamiliar_prior or prior)
        ]
        process_noise = ProcessNoise(
            tuning.drift,
            tuning.model_error,
            tuning.model_error_memory_s,
            tuning.stiction_factor,
            prior.covariance * features.forgotten * features.forgotten[:, None],
            tuning.forgetting_s,
        )
        self._algebra = algebra(n, self._dynamics.nu, process_noise, self._compiled)
        self.belief = Belief(np.zeros(n), 4 * n + k)
        self.belief.mean[:], self.belief.covariance[:] = 0.0, 0.0
        self.belief.mean[self._z] = prior.mean
        self.belief.covariance[self._d, self._d] = np.diag(tuning.drift_initial**2)
        self.belief.covariance[self._e, self._e] = np.diag(tuning.model_error**2)
        self.belief.covariance[self._z, self._z] = prior.covariance
        self._existing, self._impossible = self._share * features.existing(prior.mean), np.zeros(n)
        self._design: Array | None = None  # (n, n_z) at the last sample, once it is needed

    def in_numpy(self) -> MomentumFilter:
        """A new filter like this one, in numpy."""
        return MomentumFilter(self._dynamics, self._features, self._prior, self._tuning, False, self._unfamiliar_prior)

    def reset(self) -> None:
        self._since_s, self._share = 0.0, self._share_now(0.0)
        self._use(self._features, self._prior)
        self._started, self._missed = False, np.zeros(self._n)
        self.detections = self.restarts = 0
        self._held_s, self._unexplained, self._alarms = 0.0, 1.0, 0.0
        self._remember(np.zeros(self._dynamics.nu))
        self._noise = NoiseModel(self._tuning, self._dynamics, self._compiled)
        self._hypotheses: list[_Hypothesis] = []
        self._steady_s = 0.0

    def _remember(self, effort: Array) -> None:
        """Initialise the command history with this effort."""
        self._history = command_history(effort, self._tuning.period_s, self._compiled)
        self._smooth_effort = smooth(effort, EFFORT_MEMORY_S, self._compiled)

    @property
    def _context(self) -> Array:
        return self.belief.mean[self._z]

    @property
    def context(self) -> Context:
        std = self._calibration * np.sqrt(np.maximum(self.belief.covariance.diagonal()[self._z], 0.0))
        return Context(self._features.names, self._existing.copy(), std)

    @property
    def _calibration(self) -> float:
        """Factor from the filter's standard deviations to the reported ones."""
        return STD_CALIBRATION if self._tuning.usual_force is None else sqrt(1.0 + self._unexplained)

    @property
    def disturbance(self) -> Array:
        """Disturbance d + e (n,) [Nm], not explained by the context."""
        return self.belief.mean[self._d] + self.belief.mean[self._e]

    @property
    def observed(self) -> Array:
        """Disturbance and missed force (n,), not explained by the context [Nm]."""
        return self.disturbance + self._missed

    @property
    def compensated(self) -> Array:
        """Force (n,) that control compensates now beside that of a context that can exist [Nm]."""
        return np.asarray(self._share * self.observed + self._impossible)

    @property
    def passing(self) -> Array:
        """Part (n,) of `compensated` that lasts for some hundredths of a second: e and the missed force [Nm]."""
        return np.asarray(self._share * (self.belief.mean[self._e] + self._missed))

    def evaluate(self, xi: Xi) -> Array:
        return self._features.value(xi, self._existing) + self.compensated

    def jacobian(self, xi: Xi) -> Array:
        return self._features.jacobian(xi, self._existing)

    def effort_gain(self) -> Array:
        return self._features.effort_gain(self._existing)

    def attached_body(self) -> Array:
        return self._features.left_out(self._existing)

    @property
    def hypotheses(self) -> int:
        """Number of hypotheses under test; 0 if there are none."""
        return len(self._hypotheses)

    @property
    def possible(self) -> bool:
        """Whether the estimated context can exist; see FeatureGroup.possible."""
        return self._can_exist(self.belief)

    @property
    def disturbance_scale(self) -> Array:
        """Standard deviation (n,) of the disturbance at the start [Nm]; larger on an unfamiliar machine."""
        return self._tuning.drift_initial * (UNFAMILIAR_SCALE if self.unfamiliar else 1.0)

    def beyond(self, earlier: Belief, state: State, effort: Array) -> Array:
        """Estimated residual (n,) beyond that of an earlier model, at a measured state without acceleration [Nm]."""
        return self._beyond(earlier, self._features.design(_xi(state, np.zeros(self._n), effort))[0])

    def differs(self, earlier: Belief, force: Array) -> bool:
        """Quick test: whether more than about this force (n,) may act beyond the residual of an earlier model."""
        away = np.abs(self._context - earlier.mean[self._z])
        return bool(np.count_nonzero(away > self._different) or np.count_nonzero(np.abs(self.observed) > force))

    def felt_beyond(self, earlier: Belief, state: State, effort: Array) -> Array:
        """Force (n,) that acts now beyond the residual of an earlier model [Nm]."""
        return self._beyond(earlier, self._design_now(state, effort)) + self._missed

    def observed_beyond(self, earlier: Belief) -> Array:
        """The same (n,) where the context is that of the earlier model [Nm]."""
        return np.asarray(self.observed - earlier.mean[self._d] - earlier.mean[self._e])

    def _beyond(self, earlier: Belief, design: Array) -> Array:
        before = earlier.mean
        by_context = design @ (self._context - before[self._z])
        return np.asarray(by_context + self.disturbance - before[self._d] - before[self._e])

    def unexplained(self, force: Array, earlier: Belief, state: State, effort: Array) -> Array:
        """Part (n,) of such a force that no change to a context that can exist explains [Nm]."""
        return self._features.unexplained(
            force, self._now(state, effort), earlier.mean[self._z], self.disturbance_scale
        )

    def _now(self, state: State, effort: Array) -> Xi:
        return _xi(state, self._acceleration, effort)

    def _design_now(self, state: State, effort: Array) -> Array:
        """Φ (n, n_z) at the last sample, which was this state and effort."""
        if self._design is None:
            self._design = self._features.design(self._now(state, effort))[0]
        return self._design

    @property
    def latency_s(self) -> float:
        return self._history.latency_s

    def estimate(self, measured: State) -> State:
        if not self._started:
            return measured
        return State(self.belief.position.copy(), self.belief.mean[self._v].copy(), measured.specific_force)

    def update(self, state: State, effort: Array, dt: float) -> Context:
        self.advance(state, effort, dt)
        return self.context

    def advance(self, state: State, effort: Array, dt: float) -> None:
        """Take in a sample, as `update` does."""
        if self._started:
            self._since_s += dt
            try:
                self._learn(state, effort, dt)
                self._keep_plausible(dt)
            except np.linalg.LinAlgError:  # a covariance that is not positive definite
                self._start_over()
            self._history.update(effort, dt)
            self._smooth_effort.update(effort, dt)
        else:
            self._started = True
            self._remember(effort)
            self._start(state)
        self._make_possible(state, effort)
        self._measure_unexplained(dt)

    def _measure_unexplained(self, dt: float) -> None:
        """Average the mean square of the force that the context leaves unexplained, in usual ones.

        While hypotheses are tested, the force is that of the change.
        """
        usual = self._tuning.usual_force
        if usual is not None and not self._hypotheses:
            share = self.observed / usual
            now = min(float(share @ share) / self._n, LARGEST_FORCE**2)
            self._unexplained += (1.0 - exp(-dt / FORCE_MEMORY_S)) * (now - self._unexplained)

    def skip_start(self) -> None:
        """Give control the whole estimate from now on: the filter learns beside another controller."""
        self._since_s = np.inf

    def follow(self, state: State, effort: Array, dt: float, missed: Array | None = None) -> None:
        """Take in a sample without learning from it: position and velocity are those measured.

        missed: force (n,) beyond the model that control compensates; None: none.
        """
        self._locate(state)
        self._missed = np.zeros(self._n) if missed is None else missed
        self._consider([])
        self._history.update(effort, dt)
        self._smooth_effort.update(effort, dt)
        self._make_possible(state, effort)

    def pushed(self, state: State, effort: Array, dt: float) -> Array:
        """Mean force (n,) beyond the model that the motion since the last sample followed shows; noisy [Nm].

        The momentum balance with the measured velocity as v_1.
        """
        q_0, v_0, about, smooth = (
            self.belief.position,
            self.belief.mean[self._v],
            self._context,
            self._smooth_effort.level,
        )
        acting, _ = self._history.acting(effort, dt)
        there = self._dynamics.balance(q_0, v_0, state.v, dt, self._features.attached(about), acting)
        impulse = self._features.impulse(Interval(q_0, v_0, state.v, smooth, self._history.last_two, dt, there))
        command = acting + self._features.effort_gain(about) * (acting - smooth)
        known = there.input_map @ command + self.disturbance
        force = np.asarray(-(there.deficit + impulse @ about) / dt - known)
        force[self._stopped(state, dt)] = 0.0
        return force

    def _stopped(self, state: State, dt: float) -> NDArray[np.intp]:
        """Indices of the velocities on which a stop may have acted since the last sample."""
        if self._tuning.stops is None:
            return _NONE
        lower, upper = self._tuning.stops
        near = STOP_WITHIN + dt * np.maximum(np.abs(state.v), np.abs(self.belief.mean[self._v]))
        return np.flatnonzero((state.q < lower + near) | (state.q > upper - near))

    def _make_possible(self, state: State, effort: Array) -> None:
        """Give control and others a context that can exist; the rest of its force counts as a disturbance.

        After the start, control gets a growing share of all.
        """
        existing = self._features.existing(self._context)
        self._design = None
        self._share = self._share_now(self._since_s)
        rest = self._share * (self._context - existing)
        self._existing = self._share * existing
        self._impossible = self._design_now(state, effort) @ rest if np.count_nonzero(rest) else np.zeros(self._n)

    def _share_now(self, since_s: float) -> float:
        """Share of context and disturbance that control gets this long after the start."""
        start_s = self._tuning.start_s
        return 1.0 - exp(-since_s / start_s) if since_s < STARTED * start_s else 1.0

    def remove(self, model: Belief, state: State, effort: Array, dt: float) -> None:
        """Continue from a model without the objects that can be removed; its other entries are known half as well."""
        self.belief = model.copy()
        self.belief.covariance[self._z, self._z] *= 4.0
        for jump in self._tuning.jumps:
            if jump.removed:
                self.belief = self._jumped(jump).belief
        self.follow(state, effort, dt)

    def _start(self, state: State) -> None:
        """Start from the measured state. Further hypotheses: the absence of each removable object."""
        self._locate(state)
        here = self._hypothesis(self.belief.copy())
        removed = [jump for jump in self._tuning.jumps if jump.removed and self._held_s == 0.0]
        familiar = [here, *map(self._jumped, removed)]
        self._consider([*familiar, *(self._on_unfamiliar(one) for one in familiar if self._may_be_unfamiliar)])

    def _locate(self, state: State) -> None:
        """Set position and velocity to the measurement."""
        known, belief = slice(0, 2 * self._n), self.belief
        self._noise.start(state)
        belief.position, belief.mean[self._q], belief.mean[self._v] = state.q, 0.0, state.v
        self._acceleration = np.zeros(self._n)
        self._smooth_acceleration = smooth(self._acceleration, REGRESSOR_MEMORY_S, self._compiled)
        belief.covariance[known, :] = 0.0
        belief.covariance[:, known] = 0.0
        belief.covariance[known, known] = np.diag(self._noise.variance[known])

    def _learn(self, state: State, effort: Array, dt: float) -> None:
        if dt > max(LONGEST_INTERVAL_S, LONGEST_PERIODS * self._tuning.period_s):
            self._locate(state)
            self._consider([])
            return
        self._process(self._sample(state, effort, dt), effort, dt)
        if self._unfamiliar_prior is not None and (self.unfamiliar or self._moved_s < KNOWN_S):
            self._smooth_acceleration.update(self._predicted_acceleration, dt)

    def _process(self, sample: _Sample, effort: Array, dt: float) -> None:
        if not self._hypotheses:
            after = self._filter(self.belief, sample, self._context, self.unfamiliar)
            if not self._whiteness.fails(self._algebra.white):
                self.belief = after.belief
                self._observe(after.missed, dt)
                if not len(sample.stopped):
                    self._noise.learn(self._algebra.white, self._algebra.response, dt)
                    self._history.learn(self._algebra.white, self._algebra.response, dt)
                return
            self.detections += 1
            self._alarms += 1.0
            if self._alarms > MOST_ALARMS:
                self._start_over()
                return
            jumps = [*map(self._jumped, self._tuning.jumps), *map(self._recalled, self.remembered)]
            more = [self._on_unfamiliar(self._hypothesis())] if self._may_be_unfamiliar else []
            self._consider([self._displaced(), *jumps, *more])
        self._weigh(sample)

    def _sample(self, state: State, effort: Array, dt: float) -> _Sample:
        """The sample with the present noise levels, which also go to the algebra."""
        stopped = self._stopped(state, dt)
        if len(stopped):
            self._noise.start(state)
        else:
            self._noise.update(state, self._acceleration, dt)
        self._alarms *= max(0.0, 1.0 - dt / ALARM_MEMORY_S)
        if self._moved_s < KNOWN_S and np.abs(state.v).max() > MOVES_RAD_S:
            self._moved_s += dt
        size = len(self._noise.variance) - 3 * (state.specific_force is None)
        acting, std = self._history.acting(effort, dt)
        self._algebra.model_error[:] = self._noise.model_error
        self._steady_s += dt
        self._algebra.forgetting_s = self._forgetting_s
        variance, common = self._noise.variance[:size], self._noise.common[:size]
        return _Sample(state, variance, common, acting, self._noise.of_effort(std), dt, stopped)

    @property
    def _forgetting_s(self) -> float:
        """T_f, longer with the age t of a model that explains the forces: T_f (1 + g² min((t / t_s)², MOST_STEADY))."""
        age = self._steady_s / self._tuning.settling_s
        explained = min(1.0, WELL_EXPLAINED / max(self._unexplained, 1e-9))
        return self._tuning.forgetting_s * (1.0 + explained * explained * min(age * age, MOST_STEADY))

    def _beliefs(self) -> list[Belief]:
        """The estimate in force, and those of the other hypotheses."""
        others = [other.belief for other in self._hypotheses if other.unfamiliar == self.unfamiliar]
        return [self.belief, *(belief for belief in others if belief is not self.belief)]

    def _observe(self, missed: Array | float, dt: float) -> None:
        """Smooth the missed force (n,)."""
        bandwidth = self._tuning.missed_force_bandwidth_rad_s
        unsure = LATENCY_MARGIN * bandwidth * self._history.latency_std_s
        share = 1.0 - exp(-bandwidth / (1.0 + unsure * unsure) * dt)
        self._missed = self._missed + share * (missed - self._missed)

    def _consider(self, hypotheses: list[_Hypothesis]) -> None:
        """Begin to test these hypotheses."""
        self._tested_s = self._steady_s = 0.0
        self._whiteness.clear()
        self._hypotheses = hypotheses

    def _weigh(self, sample: _Sample) -> None:
        """Process a sample under every hypothesis.

        The estimate is the one with the most evidence among those that can exist, or among all if none can.
        """
        once = [
            (hypothesis, self._given(hypothesis, hypothesis.belief.mean[self._z], sample))
            for hypothesis in self._hypotheses
        ]
        weighed = [self._relinearised(*pair, sample) for pair in _likely(once)]
        best = max(weighed, key=self._merit)
        self.belief = best.belief
        self._settle(best.unfamiliar)
        self._observe(best.missed, sample.dt)
        self._tested_s += sample.dt
        self._hypotheses = weighed
        if best.white is not None and best.response is not None and not len(sample.stopped):
            self._noise.learn(best.white, best.response, sample.dt)
        if self._tested_s >= TESTED_S[len(weighed) > 1]:
            self._hypotheses = []

    def _merit(self, hypothesis: _Hypothesis) -> tuple[bool, float]:
        """Order of hypotheses: those that can exist first, then by evidence."""
        behind = 0.0 if hypothesis.unfamiliar == self.unfamiliar else UNFAMILIAR_AHEAD
        return self._can_exist(hypothesis.belief), hypothesis.evidence - behind

    def _can_exist(self, belief: Belief) -> bool:
        return self._features.possible(belief.mean[self._z], belief.covariance.diagonal()[self._z])

    def _given(self, hypothesis: _Hypothesis, about: Array, sample: _Sample) -> _Hypothesis:
        """The hypothesis after a sample, linearised about the context `about`."""
        after = self._filter(hypothesis.belief, sample, about, hypothesis.unfamiliar)
        white, response = self._algebra.white.copy(), self._algebra.response.copy()
        evidence = hypothesis.evidence + after.likelihood
        return _Hypothesis(after.belief, evidence, after.missed, white, response, hypothesis.unfamiliar)

    def _relinearised(self, before: _Hypothesis, after: _Hypothesis, sample: _Sample) -> _Hypothesis:
        """Repeat the update, linearised about the resulting context, until the context settles."""
        about = before.belief.mean[self._z]
        for _ in range(RELINEARISATIONS):
            came_out = after.belief.mean[self._z]
            if np.count_nonzero(np.abs(came_out - about) < self._settled) == len(about):
                break
            about = came_out
            after = self._given(before, about, sample)
        return after

    def _filter(self, before: Belief, sample: _Sample, about: Array, unfamiliar: bool = False) -> _Corrected:
        """One prediction, linearised about the context `about`, and one correction."""
        acceleration = self._smooth_acceleration.level if unfamiliar else self._acceleration
        after, inertia = self._predicted(before, sample, about, acceleration)
        if len(sample.stopped):
            self._admit_stops(after, inertia, sample)
        predicted = after.mean[self._v].copy()
        likelihood = self._algebra.correct(before, after, self._innovation(after, sample), sample.dt)
        after.position, after.mean[self._q] = self._dynamics.retract(after.position, after.mean[self._q]), 0.0
        missed = inertia @ (after.mean[self._v] - predicted) / sample.dt
        missed[sample.stopped] = 0.0
        return _Corrected(after, likelihood, missed)

    def _admit_stops(self, predicted: Belief, inertia: Array, sample: _Sample) -> None:
        """Widen a prediction by an impulse of any size on the joints at a stop, at any time of the interval."""
        by_impulse = np.linalg.inv(inertia)[:, sample.stopped]
        by_impulse *= STOP_VELOCITY / by_impulse[sample.stopped, range(len(sample.stopped))]
        spread, half, p = by_impulse @ by_impulse.T, 0.5 * sample.dt, predicted.covariance
        p[self._v, self._v] += spread
        p[self._q, self._v] += half * spread
        p[self._v, self._q] += half * spread
        p[self._q, self._q] += 2.0 * half**2 * spread

    def _innovation(self, predicted: Belief, sample: _Sample) -> Innovation:
        """Innovation at the predicted position; the prediction moves there."""
        state, value = sample.state, np.empty(len(sample.variance))
        predicted.position, off, accelerometer = self._dynamics.expected(
            predicted.position, predicted.mean[self._q], state.q
        )
        predicted.mean[self._q] = 0.0
        value[self._q], value[self._v] = off, state.v - predicted.mean[self._v]
        if accelerometer is None or state.specific_force is None:
            return Innovation(value, sample.variance, None, sample.common)
        by_acceleration, at_rest = accelerometer
        value[2 * self._n :] = state.specific_force - at_rest
        return Innovation(value, sample.variance, by_acceleration, sample.common)

    def _predicted(self, before: Belief, sample: _Sample, about: Array, acceleration: Array) -> tuple[Belief, Array]:
        """Prediction at the next sample, linearised about the context `about`, and the inertia (n, n) there.

        The regressors are evaluated up to a guess of v_1, from the latest accelerations. The momentum missing there
        gives v_1.
        """
        dt, q_0, v_0, smooth = sample.dt, before.position, before.mean[self._v], self._smooth_effort.level
        guess = v_0 + dt * acceleration
        there = self._dynamics.balance(q_0, v_0, guess, dt, self._features.attached(about), sample.acting)
        interval = Interval(q_0, v_0, guess, smooth, self._history.last_two, dt, there)
        impulse, gain = self._features.impulse(interval), self._features.effort_gain(about)
        added = self._features.added_inertia(there.attached_inertia, about)
        motion = Motion(
            guess,
            there.mass,
            added,
            there.deficit,
            impulse,
            there.input_map,
            sample.acting,
            sample.effort_std,
            smooth,
            gain,
            about,
        )
        after = self._algebra.predict(before, motion, dt)
        self._predicted_acceleration = (after.mean[self._v] - v_0) / dt
        self._acceleration += (1.0 - exp(-dt / ACCELERATION_MEMORY_S)) * (
            self._predicted_acceleration - self._acceleration
        )
        return after, there.mass + added

    def _jumped(self, jump: Jump) -> _Hypothesis:
        """Hypothesis that these entries jumped; the other entries (motor strength, say) keep their estimates."""
        belief = self.belief.copy()
        entries, drift = self._z.start + jump.entries, np.arange(self._d.start, self._d.stop)
        prior = self._prior.covariance[np.ix_(jump.entries, jump.entries)]
        if jump.removed:
            belief.mean[entries], prior = 0.0, np.zeros_like(prior)
        for which, own in ((entries, prior), (drift, np.diag(self._tuning.drift_initial**2))):
            belief.covariance[which, :] = 0.0
            belief.covariance[:, which] = 0.0
            belief.covariance[np.ix_(which, which)] = own
        return self._hypothesis(belief)

    def _hypothesis(self, belief: Belief | None = None) -> _Hypothesis:
        """A new hypothesis on the present machine; None: the present estimate."""
        return _Hypothesis(self.belief if belief is None else belief, 0.0, unfamiliar=self.unfamiliar)

    @property
    def _may_be_unfamiliar(self) -> bool:
        new = self._held_s == 0.0 and self._moved_s < KNOWN_S
        return self._unfamiliar_prior is not None and not self.unfamiliar and new and bool(self._tuning.jumps)

    def _on_unfamiliar(self, familiar: _Hypothesis) -> _Hypothesis:
        """The same on a machine unlike those of the training."""
        assert self._unfamiliar_prior is not None
        belief, given = familiar.belief.copy(), self._unfamiliar_prior
        changed = np.flatnonzero(np.diagonal(given.covariance) != np.diagonal(self._prior.covariance))
        drift, entries = np.arange(self._d.start, self._d.stop), self._z.start + changed
        belief.mean[entries] = given.mean[changed]
        own = (entries, given.covariance[np.ix_(changed, changed)]), (drift, np.diag(self._tuning.drift_initial**2))
        for which, covariance in own:
            belief.covariance[which, :] = 0.0
            belief.covariance[:, which] = 0.0
            belief.covariance[np.ix_(which, which)] = covariance
        return _Hypothesis(belief, familiar.evidence, unfamiliar=True)

    def take_machine(self, other: MomentumFilter) -> None:
        """Start, after a reset, with another filter's decision on the machine: whether it is unfamiliar."""
        self._moved_s = other._moved_s
        if other.unfamiliar:
            self.belief = self._on_unfamiliar(_Hypothesis(self.belief, 0.0)).belief
            self._settle(True)

    def _settle(self, unfamiliar: bool) -> None:
        """Take the prior of this kind of machine."""
        if unfamiliar != self.unfamiliar and self._unfamiliar_prior is not None:
            self.unfamiliar = unfamiliar
            given = self._unfamiliar_prior if unfamiliar else self._prior
            self._algebra.prior[...] = given.covariance * self._features.forgotten * self._features.forgotten[:, None]

    @property
    def _scale(self) -> PriorScale:
        return self._scales[self.unfamiliar]

    def _recalled(self, earlier: Belief) -> _Hypothesis:
        """Hypothesis that an earlier model returned: context and disturbance are those of then."""
        belief, model, drift = self.belief.copy(), slice(2 * self._n, None), np.arange(self._d.start, self._d.stop)
        belief.mean[model] = earlier.mean[model]
        belief.covariance[model, :], belief.covariance[:, model] = 0.0, 0.0
        belief.covariance[model, model] = earlier.covariance[model, model]
        belief.covariance[drift, drift] += self._tuning.drift_initial**2
        unfamiliar = self.unfamiliar or self._unfamiliar_prior is not None and not self._scales[0].fits(belief.mean)
        return _Hypothesis(belief, 0.0, unfamiliar=unfamiliar)

    def _displaced(self) -> _Hypothesis:
        """Hypothesis of an impact or a lost sample: nothing but the state changed."""
        belief = self.belief.copy()
        belief.covariance[self._q, self._q] += DISPLACED[0] ** 2 * np.eye(self._n)
        belief.covariance[self._v, self._v] += DISPLACED[1] ** 2 * np.eye(self._n)
        return self._hypothesis(belief)

    @property
    def widenings(self) -> int:
        """Number of times that an entry's prior was widened since the last start."""
        return self._scale.widenings

    def _keep_plausible(self, dt: float) -> None:
        """Widen a prior that is too narrow; start over from an estimate that has diverged."""
        if self._held_s > 0.0:
            self._hold(dt)
        elif not self._scale.fits(self.belief.mean):
            self._scale.widen(self._beliefs(), dt)
            if self._scale.diverged(self.belief.mean):
                self._start_over()

    def _hold(self, dt: float) -> None:
        """Keep the context at its prior for a while: the filter is an observer of the disturbance."""
        self._held_s -= dt
        if self._held_s <= 0.0 or not np.isfinite(self.belief.mean).all():
            self._use(self._features, self._prior)
            self._hypotheses, self._started = [], False

    def _start_over(self) -> None:
        """Return to the prior and hold it, twice as long each time; the next sample is the first."""
        self._use(self._features, self._prior)
        self._hypotheses, self._started = [], False
        self.belief.covariance[self._z, :] = 0.0
        self._algebra.prior[...] = 0.0
        self._alarms = 0.0
        self._held_s = min(FIRST_HOLD_S * 2.0 ** min(self.restarts, 30), LONGEST_HOLD_S)
        self.detections += 1
        self.restarts += 1


def _xi(state: State, acceleration: Array, effort: Array) -> Xi:
    """One point, with the same effort (nu,) acting for a while; acceleration: (n,)."""
    efforts = effort[None]
    return Xi(state.q[None], state.v[None], acceleration[None], efforts, efforts.repeat(2, axis=0)[:, None])


def _likely(pairs: list[tuple[_Hypothesis, _Hypothesis]]) -> list[tuple[_Hypothesis, _Hypothesis]]:
    """Pairs (before, after) a sample that are not far behind the best."""
    best = max(after.evidence for _, after in pairs)
    return [pair for pair in pairs if pair[1].evidence > best - DROPPED_BEHIND]
