# SPDX-License-Identifier: Apache-2.0
"""Recursive Bayesian estimation of context and disturbance from momentum, without differentiation.

A Kalman filter over position, velocity, slow disturbance d, fast model error e and context z. Each of its ideas is a
module:

    momentum_step.py          one sample: the momentum balance predicts, the measured state corrects
    filter_algebra.py         its dense algebra, also in C (momentum_filter.c)
    filter_tuning.py          prior and noise levels
    noise_model.py            noise levels estimated online
    acting_effort.py          the effort that acted: latency, and motor strength without a bias from feedback
    recent_acceleration.py    where the balance and the regressors are linearised
    joint_stops.py            a joint at a stop shows nothing
    belief_changes.py         what may have happened at a detected change
    hypotheses.py             these possibilities compete on the samples that follow
    machine.py                a machine unlike those of the training has another prior
    prior_scale.py            a prior that is too narrow is widened
    forgetting.py             old samples lose their weight, those of a model that lasts more slowly
    restarts.py               a model that diverged returns to its prior, and is held there longer each time
    missed_force.py           what predictions miss is compensated at once
    unexplained_force.py      how far the standard deviations are to be believed
    controlled_context.py     control gets a context that can exist, and after a start gradually

A whiteness test on the last innovations detects a change (stream/whiteness.py). At the start the hypotheses are the
prior and, for each removable object, its absence; each also with the friction of the nominal model.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.acting_effort import ActingEffort
from metarl_robot.adaptation.belief_changes import BeliefChanges
from metarl_robot.adaptation.controlled_context import ControlledContext
from metarl_robot.adaptation.features import FeatureMap, Jump, Xi
from metarl_robot.adaptation.filter_algebra import Belief, ProcessNoise
from metarl_robot.adaptation.filter_tuning import FilterTuning, Prior
from metarl_robot.adaptation.forgetting import Forgetting
from metarl_robot.adaptation.hypotheses import Hypothesis, HypothesisTest
from metarl_robot.adaptation.joint_stops import Indices, stopped
from metarl_robot.adaptation.machine import Machine
from metarl_robot.adaptation.missed_force import MissedForce
from metarl_robot.adaptation.momentum_step import MomentumStep, Sample
from metarl_robot.adaptation.noise_model import NoiseModel
from metarl_robot.adaptation.recent_acceleration import RecentAcceleration
from metarl_robot.adaptation.restarts import Restarts
from metarl_robot.adaptation.stream.whiteness import whiteness
from metarl_robot.adaptation.unexplained_force import UnexplainedForce
from metarl_robot.core.signals import Context, State
from metarl_robot.dynamics.protocols import Dynamics

Array = NDArray[np.float64]

MODELLED_BEHIND = 3.0
"""Lead in log-evidence that friction as in the nominal model needs over other friction.

Without it, this friction is used for the first tenths of a second of robots that have more, until they move faster.
"""
DIFFERENT_SIGMAS = 0.1
"""Contexts that differ by less of the prior's standard deviations give the same force."""
HANDED_OVER = 300.0
"""Largest force of a diverged model that the observer takes over, in standard deviations of the initial disturbance."""
LONGEST_INTERVAL_S, LONGEST_PERIODS = 0.03, 1.5
"""After a longer gap, position and velocity are those measured; the filter learns nothing from the gap.

The efforts that acted last are uncertain, as at the start: another controller may have held or braked the robot.
"""


class MomentumFilter:
    """Adapter: context z in the features' coordinates, plus a disturbance observer for the rest.

    compiled: run the algebra and the stream statistics in C if there is a compiler, else in numpy.
    unfamiliar: prior on a machine unlike those of the training; None: the same.
    remembered: models from before, each a hypothesis after a detected change.
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
        self._acceleration = RecentAcceleration(self._n, compiled)
        self.remembered: tuple[Belief, ...] = ()
        self._features, self._prior = features, prior
        self.reset()

    def reset(self) -> None:
        self._controlled = ControlledContext(self._tuning.start_s)
        self._use(self._features, self._prior)
        self._started, self._missed = False, MissedForce(self._n, self._tuning.missed_force_bandwidth_rad_s)
        self._interrupted = False
        self._restarts, self._unexplained = Restarts(), UnexplainedForce(self._tuning.usual_force)
        self._earlier_std = self._tuning.earlier_effort_std
        self._remember(np.zeros(self._dynamics.nu))
        self._noise = NoiseModel(self._tuning, self._dynamics, self._compiled)

    def _use(self, features: FeatureMap, prior: Prior) -> None:
        """Start from this prior; velocity and disturbance unknown."""
        n, k, tuning = self._n, features.size, self._tuning
        self._features, self._prior, self._z = features, prior, slice(4 * n, 4 * n + k)
        prior_std = np.sqrt(np.diagonal(prior.covariance)) + 1e-12
        self._limits, self._frictions = features.limits, np.flatnonzero(features.heavy_tailed)
        self._limited = np.flatnonzero(np.isfinite(self._limits).any(axis=0))
        self._least_and_most = self._limits[:, self._limited].tolist()
        self._different = DIFFERENT_SIGMAS * prior_std
        self._machine = Machine(prior, self._unfamiliar_prior, features.heavy_tailed, self._z.start)
        self._changes = BeliefChanges(n, prior, self._unfamiliar_prior or prior, tuning.drift_initial)
        process_noise = ProcessNoise(
            tuning.drift,
            tuning.model_error,
            tuning.model_error_memory_s,
            tuning.stiction_factor,
            self._forgotten_to(prior),
            tuning.forgetting_s,
        )
        self._step = MomentumStep(
            self._dynamics, features, process_noise, self._acceleration, self._compiled, tuning.measured_efforts
        )
        self._algebra = self._step.algebra
        self._test = HypothesisTest(self._step, features, prior_std)
        self.belief = Belief(np.zeros(n), 4 * n + k)
        self.belief.mean[:], self.belief.covariance[:] = 0.0, 0.0
        self.belief.mean[self._z] = prior.mean
        self.belief.covariance[self._d, self._d] = np.diag(tuning.drift_initial**2)
        self.belief.covariance[self._e, self._e] = np.diag(tuning.model_error**2)
        self.belief.covariance[self._z, self._z] = prior.covariance
        self._controlled.use(features, prior.mean, n)
        self._forgetting = Forgetting(tuning.forgetting_s, tuning.settling_s, features.sudden)
        self._design: Array | None = None  # (n, n_z) at the last sample, once it is needed
        self._latest: tuple[State, Array]

    def _forgotten_to(self, prior: Prior) -> Array:
        """Covariance (n_z, n_z) towards which the context is forgotten."""
        return prior.covariance * self._features.forgotten * self._features.forgotten[:, None]

    def in_numpy(self) -> MomentumFilter:
        """A new filter like this one, in numpy."""
        return MomentumFilter(self._dynamics, self._features, self._prior, self._tuning, False, self._unfamiliar_prior)

    def _remember(self, effort: Array) -> None:
        """Take this effort (nu,) to have acted forever, with the uncertainty of an earlier command after a reset."""
        tuning = self._tuning
        self._efforts = ActingEffort(
            effort, tuning.period_s, self._compiled, tuning.latency_s, self._earlier_std, tuning.own_period_s
        )

    @property
    def _context(self) -> Array:
        return self.belief.mean[self._z]

    @property
    def context(self) -> Context:
        std = self._unexplained.std_factor * np.sqrt(np.maximum(self.belief.covariance.diagonal()[self._z], 0.0))
        return Context(self._features.names, self._controlled.context, std)

    @property
    def estimated(self) -> Array:
        """The estimated context (k,) as it is, also where no body has it."""
        return self._context.copy()

    @property
    def slow_disturbance(self) -> Array:
        """Disturbance d (n,), without the fast model error [Nm]."""
        return self.belief.mean[self._d].copy()

    @property
    def disturbance(self) -> Array:
        """Disturbance d + e (n,) [Nm], not explained by the context."""
        return self.belief.mean[self._d] + self.belief.mean[self._e]

    @property
    def observed(self) -> Array:
        """Disturbance and missed force (n,), not explained by the context [Nm]."""
        return self.disturbance + self._missed.force

    @property
    def compensated(self) -> Array:
        """Force (n,) that control compensates now beside that of a context that can exist [Nm]."""
        return np.asarray(self._controlled.share * self.observed + self._controlled.rest(self._latest_design))

    @property
    def share(self) -> float:
        """Share of the estimate that control gets: less than 1 for a while after the start (FilterTuning.start_s)."""
        return self._controlled.share

    @property
    def acting_effort(self) -> Array:
        """Mean effort (nu,) that acted between the last two samples, after the latency."""
        return self._efforts.history.mean

    @property
    def passing(self) -> Array:
        """Part (n,) of `compensated` that lasts for some hundredths of a second: e and the missed force [Nm]."""
        return np.asarray(self._controlled.share * (self.belief.mean[self._e] + self._missed.force))

    def evaluate(self, xi: Xi) -> Array:
        return self._features.value(xi, self._controlled.context) + self.compensated

    def jacobian(self, xi: Xi) -> Array:
        return self._features.jacobian(xi, self._controlled.context)

    def effort_gain(self) -> Array:
        return self._features.effort_gain(self._controlled.context)

    def attached_body(self) -> Array:
        return self._features.left_out(self._controlled.context)

    @property
    def hypotheses(self) -> int:
        """Number of hypotheses under test; 0 if there are none."""
        return len(self._test.alive)

    @property
    def detections(self) -> int:
        """Number of detected changes and of restarts since the reset."""
        return self._restarts.detections

    @property
    def restarts(self) -> int:
        """Number of returns to the prior since the reset."""
        return self._restarts.count

    @property
    def restarting(self) -> bool:
        """Whether the context is held at its prior after a restart: neither is a model of the robot."""
        return self._restarts.holding

    @property
    def widenings(self) -> int:
        """Number of times that an entry's prior was widened since the last start."""
        return self._machine.scale.widenings

    @property
    def unfamiliar(self) -> bool:
        """Whether the machine is held to be unlike those of the training."""
        return self._machine.unfamiliar

    @property
    def possible(self) -> bool:
        """Whether the estimated context can exist; see FeatureGroup.possible."""
        return self._test.can_exist(self.belief)

    @property
    def disturbance_scale(self) -> Array:
        """Standard deviation (n,) of the disturbance at the start [Nm]; larger on an unfamiliar machine."""
        return self._tuning.drift_initial * self._machine.disturbance_scale

    @property
    def latency_s(self) -> float:
        return self._efforts.history.latency_s

    def beyond(self, earlier: Belief, state: State, effort: Array) -> Array:
        """Estimated residual (n,) beyond that of an earlier model, at a measured state without acceleration [Nm]."""
        return self._beyond(earlier, self._features.design(_xi(state, np.zeros(self._n), effort))[0])

    def differs(self, earlier: Belief, force: Array) -> bool:
        """Quick test: whether more than about this force (n,) may act beyond the residual of an earlier model."""
        away = np.abs(self._context - earlier.mean[self._z])
        return bool(np.count_nonzero(away > self._different) or np.count_nonzero(np.abs(self.observed) > force))

    def felt_beyond(self, earlier: Belief, state: State, effort: Array) -> Array:
        """Force (n,) that acts now beyond the residual of an earlier model [Nm]."""
        return self._beyond(earlier, self._design_now(state, effort)) + self._missed.force

    def observed_beyond(self, earlier: Belief) -> Array:
        """The same (n,) where the context is that of the earlier model [Nm]."""
        return np.asarray(self.observed - earlier.mean[self._d] - earlier.mean[self._e])

    def _beyond(self, earlier: Belief, design: Array) -> Array:
        before = earlier.mean
        by_context = design @ (self._context - before[self._z])
        return np.asarray(by_context + self.disturbance - before[self._d] - before[self._e])

    def unexplained(
        self, force: Array, earlier: Belief, state: State, effort: Array, bodies_only: bool = False
    ) -> Array:
        """Part (n,) of such a force that no change to a context that can exist explains [Nm].

        bodies_only: that no attached body explains; friction may.
        """
        return self._features.unexplained(
            force, self._now(state, effort), earlier.mean[self._z], self.disturbance_scale, bodies_only
        )

    def pushed(self, state: State, effort: Array, dt: float) -> Array:
        """Mean force (n,) beyond the model that the motion since the last sample followed shows; noisy [Nm]."""
        force = self._step.mean_force(self.belief, state.v, self._efforts.over(effort, dt), dt)
        force[self._stopped(state, dt)] = 0.0
        return force

    def _now(self, state: State, effort: Array) -> Xi:
        return _xi(state, self._acceleration.latest, effort)

    def _design_now(self, state: State, effort: Array) -> Array:
        """Φ (n, n_z) at the last sample, which was this state and effort."""
        if self._design is None:
            self._design = self._features.design(self._now(state, effort))[0]
        return self._design

    def estimate(self, measured: State) -> State:
        if not self._started:
            return measured
        return State(self.belief.position.copy(), self.belief.mean[self._v].copy(), measured.specific_force)

    @property
    def velocities_measured(self) -> bool:
        """Whether measured velocities are more than differences of the positions."""
        return not self._noise.differences

    def believed(self, measured: State) -> State:
        """The measured state; the last estimate where velocities are differences of the positions."""
        return measured if self.velocities_measured else self.estimate(measured)

    def force_std(self, state: State, effort: Array) -> Array:
        """Standard deviation (n,) of the force beyond the nominal model at the last sample [Nm]."""
        by = np.hstack([np.eye(self._n), np.eye(self._n), self._design_now(state, effort)])
        covariance = self.belief.covariance[2 * self._n :, 2 * self._n :]
        return np.asarray(np.sqrt(np.maximum(np.einsum("ij,jk,ik->i", by, covariance, by), 0.0)))

    def update(self, state: State, effort: Array, dt: float) -> Context:
        self.advance(state, effort, dt)
        return self.context

    def advance(self, state: State, effort: Array, dt: float) -> None:
        """Take in a sample, as `update` does."""
        if self._started:
            self._controlled.passes(dt)
            try:
                self._learn(state, effort, dt)
                self._keep_plausible(state, effort, dt)
            except np.linalg.LinAlgError:  # a covariance that is not positive definite
                self._start_over(state, effort)
            self._record(effort, dt)
        else:
            self._started, self._interrupted = True, False
            self._remember(effort)
            self._start(state)
        self._give_control(state, effort)
        if not self._test.alive:  # else the force is that of the change
            self._unexplained.measure(self.observed, dt)

    def continue_from(self, earlier: MomentumFilter) -> bool:
        """Start from what another filter has learned: its model, or an observer from its force.

        The time until the next sample is a gap. earlier: one for another period of the states, say, or this filter
        itself, which had no samples for a while. Returns False, and changes nothing, where it has other features.
        """
        alike = self._features.names == earlier._features.names
        if not (earlier._started and (alike or self._features.size == 0)):
            return False
        if earlier is not self:
            self._start_from(earlier, alike and not earlier.restarting)
        self._interrupted = self._started
        return True

    def _start_from(self, earlier: MomentumFilter, with_model: bool) -> None:
        self.reset()
        self.skip_start()
        if not with_model:
            self.belief.mean[self._d] = earlier.observed + earlier._latest_design() @ earlier._context
            return
        self._machine = earlier._machine  # the same at any period
        self._algebra.prior[...] = self._forgotten_to(self._machine.prior)
        self._remember(earlier._efforts.history.last_two[0])
        self.belief, self._started = earlier.belief.copy(), True

    def expect_measured_efforts(self) -> None:
        """Take efforts as measured, not commanded, from the next reset on; see FilterTuning."""
        self._tuning = replace(self._tuning, measured_efforts=True)

    def skip_start(self) -> None:
        """Give control the whole estimate from now on: the filter learns beside another controller."""
        self._controlled.skip_start()

    def follow(self, state: State, effort: Array, dt: float, missed: Array | None = None) -> None:
        """Take in a sample without learning from it: position and velocity are those measured.

        missed: force (n,) beyond the model that control compensates; None: none.
        """
        self._locate(state)
        self._missed.force = np.zeros(self._n) if missed is None else missed
        self._consider([])
        self._record(effort, dt)
        self._give_control(state, effort)

    def remove(self, model: Belief, state: State, effort: Array, dt: float) -> None:
        """Continue from a model without the objects that can be removed; its other entries are known half as well."""
        self.belief = model.copy()
        self.belief.covariance[self._z, self._z] *= 4.0
        for jump in self._tuning.jumps:
            if jump.removed:
                self.belief = self._changes.jumped(self.belief, jump)
        self.follow(state, effort, dt)

    def resume(self, model: Belief, state: State, effort: Array, dt: float) -> None:
        """Continue from a model after motion that was not learned from.

        Its correlations with friction come from one direction of motion, and friction may have been wrong there:
        friction is uncertain again, independent of the other entries.
        """
        self.belief = self._changes.jumped(model, Jump(self._frictions))
        self.follow(state, effort, dt)

    def take_context(self, context: Array, now: tuple[State, Array] | None = None) -> None:
        """Take a context (k,), known from elsewhere, as certain; the filter observes the disturbance beside it.

        now: the last state and effort. The force there stays as it is: the disturbance takes the difference. None: the
        disturbance stays as it is.
        """
        if now is not None:
            self.belief.mean[self._d] += self._design_now(*now) @ (self._context - context)
        self.belief.mean[self._z] = context
        self.belief.covariance[self._z, :] = 0.0
        self.belief.covariance[:, self._z] = 0.0
        if now is not None:
            self._give_control(*now)

    def take_machine(self, other: MomentumFilter) -> None:
        """Start, after a reset, beside another filter: with its decision on the machine, and its last command."""
        self._earlier_std = None
        self._machine.moved_as(other._machine)
        if other.unfamiliar:
            self.belief = self._changes.on_unfamiliar(self.belief)
            self._settle(True)

    def _give_control(self, state: State, effort: Array) -> None:
        self._design, self._latest = None, (state, effort)
        self._controlled.update(self._context)

    def _latest_design(self) -> Array:
        return self._design_now(*self._latest)

    def _stopped(self, state: State, dt: float) -> Indices:
        return stopped(self._tuning.stops, state, self.belief.mean[self._v], dt)

    def _start(self, state: State) -> None:
        """Start from the measured state. Further hypotheses: no removable object; friction as in the nominal model."""
        self._locate(state)
        here = self._hypothesis(self.belief.copy())
        removed = [jump for jump in self._tuning.jumps if jump.removed and self._restarts.count == 0]
        familiar = [here, *map(self._jumped, removed)]
        first = self._restarts.count == 0 and len(self._frictions) > 0
        modelled = map(self._with_friction_as_modelled, familiar) if first else ()
        unfamiliar = map(self._on_unfamiliar, familiar) if self._may_be_unfamiliar else ()
        self._consider([*familiar, *modelled, *unfamiliar])

    def _locate(self, state: State) -> None:
        """Set position and velocity to the measurement."""
        known, belief = slice(0, 2 * self._n), self.belief
        self._noise.start(state)
        self._acceleration.restart()
        belief.position, belief.mean[self._q], belief.mean[self._v] = state.q, 0.0, state.v
        belief.covariance[known, :] = 0.0
        belief.covariance[:, known] = 0.0
        belief.covariance[known, known] = np.diag(self._noise.variance[known])

    def _learn(self, state: State, effort: Array, dt: float) -> None:
        if self._is_gap(dt):
            self._locate(state)
            self._consider([])
            return
        self._process(self._sample(state, effort, dt))
        if self._tuning.measured_efforts or self._machine.smooths_regressors:
            self._acceleration.keep(dt)

    def _is_gap(self, dt: float) -> bool:
        return self._interrupted or dt > max(LONGEST_INTERVAL_S, LONGEST_PERIODS * self._tuning.period_s)

    def _record(self, effort: Array, dt: float) -> None:
        self._efforts.update(effort, dt)
        if self._is_gap(dt):
            self._efforts.forget(self._tuning.earlier_effort_std)
        self._interrupted = False

    def _sample(self, state: State, effort: Array, dt: float) -> Sample:
        """The sample with the present noise levels, which also go to the algebra."""
        touching = self._stopped(state, dt)
        if len(touching):
            self._noise.start(state)
        else:
            self._noise.update(state, self._acceleration.latest, dt)
        self._restarts.passes(dt)
        self._machine.moves(state.v, dt)
        size = len(self._noise.variance) - 3 * (state.specific_force is None)
        acting = self._efforts.over(effort, dt)
        self._algebra.model_error[:] = self._noise.model_error
        self._algebra.forgetting_s[:] = self._forgetting.time_constants(self._unexplained.mean_square, dt)
        variance, common = self._noise.variance[:size], self._noise.common[:size]
        return Sample(state, variance, common, acting, self._noise.of_effort(acting.std), dt, touching)

    def _process(self, sample: Sample) -> None:
        if not self._test.alive:
            after = self._step.take(self.belief, sample, self._context, self.unfamiliar)
            white, response = self._algebra.white, self._algebra.response
            if not self._whiteness.fails(white):
                self.belief = after.belief
                self._observe(after.missed, sample.dt)
                if not len(sample.stopped):
                    self._noise.learn(white, response, sample.dt)
                    self._efforts.history.learn(white, response, sample.dt)
                return
            if self._restarts.detected():
                self._start_over(sample.state, sample.acting.mean)
                return
            self._consider(self._possible_changes())
        self._weigh(sample)

    def _possible_changes(self) -> list[Hypothesis]:
        jumps = [*map(self._jumped, self._tuning.jumps), *map(self._recalled, self.remembered)]
        more = [self._on_unfamiliar(self._hypothesis(self.belief))] if self._may_be_unfamiliar else []
        return [self._hypothesis(self._changes.displaced(self.belief)), *jumps, *more]

    def _consider(self, hypotheses: list[Hypothesis]) -> None:
        """Begin to test these hypotheses."""
        self._forgetting.changed()
        self._whiteness.clear()
        self._test.begin(hypotheses)

    def _weigh(self, sample: Sample) -> None:
        """Process a sample under every hypothesis; the best gives the estimate.

        The test at the start lasts for half a second. Without learning the latency meanwhile, the error of a small arm
        was 1.4 to 2 times that of an observer from positions alone, and up to 5 times with slow states, in which a
        latency does more harm.
        """
        best = self._test.weigh(sample, self.unfamiliar)
        self.belief = best.belief
        self._settle(best.unfamiliar)
        self._observe(best.missed, sample.dt)
        if best.white is not None and best.response is not None and not len(sample.stopped):
            self._noise.learn(best.white, best.response, sample.dt)
            if self._tuning.slow_states or not self.velocities_measured:
                self._efforts.history.learn(best.white, best.response, sample.dt)

    def _observe(self, missed: Array | float, dt: float) -> None:
        """Take in the force (n,) that a prediction missed."""
        self._missed.update(missed, self._efforts.history.latency_std_s, dt)

    def _hypothesis(self, belief: Belief) -> Hypothesis:
        """A new hypothesis on the present machine."""
        return Hypothesis(belief, 0.0, unfamiliar=self.unfamiliar)

    def _jumped(self, jump: Jump) -> Hypothesis:
        return self._hypothesis(self._changes.jumped(self.belief, jump))

    def _recalled(self, earlier: Belief) -> Hypothesis:
        belief = self._changes.recalled(self.belief, earlier)
        return Hypothesis(belief, 0.0, unfamiliar=self._machine.has_model(belief.mean))

    def _with_friction_as_modelled(self, other: Hypothesis) -> Hypothesis:
        """The same on a robot with the friction of its description, as in many simulations; others have more."""
        belief = self._changes.as_modelled(other.belief, self._frictions)
        return Hypothesis(belief, -MODELLED_BEHIND, as_modelled=True)

    def _on_unfamiliar(self, familiar: Hypothesis) -> Hypothesis:
        """The same on a machine unlike those of the training."""
        return Hypothesis(self._changes.on_unfamiliar(familiar.belief), familiar.evidence, unfamiliar=True)

    @property
    def _may_be_unfamiliar(self) -> bool:
        return self._machine.undecided and self._restarts.count == 0 and bool(self._tuning.jumps)

    def _settle(self, unfamiliar: bool) -> None:
        """Take the prior of this kind of machine."""
        if self._machine.settle(unfamiliar):
            self._algebra.prior[...] = self._forgotten_to(self._machine.prior)

    def _keep_plausible(self, state: State, effort: Array, dt: float) -> None:
        """Widen a prior that is too narrow; start over from an estimate that has diverged."""
        scale = self._machine.scale
        if len(self._limited):
            self._keep_within_limits()
        if self._restarts.holding:
            if self._restarts.held(dt) or not np.isfinite(self.belief.mean).all():
                self._return_to_prior()
        elif not scale.fits(self.belief.mean):
            scale.widen(self._beliefs(), dt)
            if scale.diverged(self.belief.mean):
                self._start_over(state, effort)

    def _keep_within_limits(self) -> None:
        """Return entries to their limits that are beyond by more than a standard deviation.

        Less is no knowledge yet: with a strict limit, rotor inertia of recordings was learned too slowly, and errors of
        predictions were 1.08 instead of 0.67 times the nominal model's.
        """
        context, limited = self._context, zip(self._context[self._limited].tolist(), *self._least_and_most, strict=True)
        if all(least <= value <= most for value, least, most in limited):
            return
        within = np.clip(context, *self._limits)
        std = np.sqrt(np.maximum(np.diagonal(self.belief.covariance)[self._z], 0.0))
        for entry in np.flatnonzero(np.abs(self._context - within) > std).tolist():
            self._changes.limited(self.belief, entry, within[entry])

    def _beliefs(self) -> list[Belief]:
        """The estimate in force, and those of the other hypotheses on this machine."""
        others = [other.belief for other in self._test.alive if other.unfamiliar == self.unfamiliar]
        return [self.belief, *(belief for belief in others if belief is not self.belief)]

    def _return_to_prior(self) -> None:
        """The next sample is the first."""
        self._use(self._features, self._prior)
        self._started, self._earlier_std = False, None

    def _start_over(self, state: State, effort: Array) -> None:
        """Return to the prior and hold it: the filter is an observer of the disturbance, which is the whole force."""
        force = self.observed + self._features.design(self._now(state, effort))[0] @ (self._context - self._prior.mean)
        self._return_to_prior()
        if np.abs(force / self._tuning.drift_initial).max() < HANDED_OVER:  # also False if it is not finite
            self.belief.mean[self._d], self._missed.force = force, np.zeros(self._n)
        self.belief.covariance[self._z, :] = 0.0
        self._algebra.prior[...] = 0.0
        self._restarts.begin()


def _xi(state: State, acceleration: Array, effort: Array) -> Xi:
    """One point, with the same effort (nu,) acting for a while; acceleration: (n,)."""
    efforts = effort[None]
    return Xi(state.q[None], state.v[None], acceleration[None], efforts, efforts.repeat(2, axis=0)[:, None])
