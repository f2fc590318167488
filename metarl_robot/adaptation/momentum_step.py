# SPDX-License-Identifier: Apache-2.0
"""One sample of the momentum filter: a prediction by the momentum balance, and a correction by the measured state.

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

The balance is bilinear in (v_1, z) and linearised about a context, which may be refined (iterated Kalman filter).
Positions may be curved (an attitude). The state holds their error, and the position estimate moves with it (error-state
filter).

The filter measures the residual by the change of position and velocity; this noise telescopes from sample to sample.
A regression on differentiated velocities would wrongly assume white noise. Over some tens of milliseconds, encoders
measure the velocity far better than the velocity signal does.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.acting_effort import Acting
from metarl_robot.adaptation.features import FeatureMap, Interval
from metarl_robot.adaptation.filter_algebra import Belief, Innovation, Motion, ProcessNoise, algebra
from metarl_robot.adaptation.joint_stops import Indices, admit_stops
from metarl_robot.adaptation.recent_acceleration import RecentAcceleration
from metarl_robot.core.signals import State
from metarl_robot.dynamics.protocols import Dynamics

Array = NDArray[np.float64]


class Sample(NamedTuple):
    """A measurement and its noise, the effort since the last sample, and the time since.

    variance: of q, v and, if measured, of specific force. common: standard deviation of the noise that they share.
    effort_std: (nu,) standard deviation of the effort that acted.
    stopped: velocities on which a stop may have acted.
    """

    state: State
    variance: Array
    common: Array
    acting: Acting
    effort_std: Array
    dt: float
    stopped: Indices


class Corrected(NamedTuple):
    """State estimate after a sample, the sample's log-likelihood, and the force (n,) that the prediction missed."""

    belief: Belief
    likelihood: float
    missed: Array


class MomentumStep:
    """Prediction and correction with these features.

    measured_efforts: see FilterTuning. algebra: white and response of the last correction; process noise, which may be
    set (filter_algebra.py). z: the context within the state.
    """

    def __init__(
        self,
        dynamics: Dynamics,
        features: FeatureMap,
        process_noise: ProcessNoise,
        acceleration: RecentAcceleration,
        compiled: bool,
        measured_efforts: bool = False,
    ) -> None:
        self._dynamics, self._features, self._acceleration = dynamics, features, acceleration
        self._measured_efforts = measured_efforts
        n = self._n = dynamics.dof
        self._q, self._v, self._d, self._e = (slice(i * n, (i + 1) * n) for i in range(4))
        self.z = slice(4 * n, 4 * n + features.size)
        self.algebra = algebra(n, dynamics.nu, process_noise, compiled)

    def take(self, before: Belief, sample: Sample, about: Array, unfamiliar: bool = False) -> Corrected:
        """One prediction, linearised about the context `about` (k,), and one correction.

        Regressors are evaluated at the smoothed acceleration where the machine is unfamiliar or efforts are measured.
        """
        smooth = unfamiliar or self._measured_efforts
        acceleration = self._acceleration.smooth if smooth else self._acceleration.latest
        after, inertia = self._predicted(before, sample, about, acceleration)
        if len(sample.stopped):
            admit_stops(after, inertia, sample.stopped, sample.dt)
        predicted = after.mean[self._v].copy()
        likelihood = self.algebra.correct(before, after, self._innovation(after, sample), sample.dt)
        after.position, after.mean[self._q] = self._dynamics.retract(after.position, after.mean[self._q]), 0.0
        missed = inertia @ (after.mean[self._v] - predicted) / sample.dt
        missed[sample.stopped] = 0.0
        return Corrected(after, likelihood, missed)

    def _innovation(self, predicted: Belief, sample: Sample) -> Innovation:
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

    def _predicted(self, before: Belief, sample: Sample, about: Array, acceleration: Array) -> tuple[Belief, Array]:
        """Prediction at the next sample, linearised about the context `about`, and the inertia (n, n) there.

        The regressors are evaluated up to a guess of v_1, from the latest accelerations. The momentum missing there
        gives v_1.
        """
        dt, q_0, v_0, acting = sample.dt, before.position, before.mean[self._v], sample.acting
        guess = v_0 + dt * acceleration
        there = self._dynamics.balance(q_0, v_0, guess, dt, self._features.attached(about), acting.mean)
        interval = Interval(q_0, v_0, guess, acting.smooth, acting.past, dt, there)
        impulse, gain = self._features.impulse(interval), self._features.effort_gain(about)
        added = self._features.added_inertia(there.attached_inertia, about)
        motion = Motion(
            guess,
            there.mass,
            added,
            there.deficit,
            impulse,
            there.input_map,
            acting.mean,
            sample.effort_std,
            acting.smooth,
            gain,
            about,
        )
        after = self.algebra.predict(before, motion, dt)
        self._acceleration.predicted((after.mean[self._v] - v_0) / dt, dt)
        return after, there.mass + added

    def mean_force(self, before: Belief, v_1: Array, acting: Acting, dt: float) -> Array:
        """Mean force (n,) beyond a model that the change to a measured velocity v_1 shows; noisy [Nm]."""
        q_0, v_0, about = before.position, before.mean[self._v], before.mean[self.z]
        there = self._dynamics.balance(q_0, v_0, v_1, dt, self._features.attached(about), acting.mean)
        impulse = self._features.impulse(Interval(q_0, v_0, v_1, acting.smooth, acting.past, dt, there))
        command = acting.mean + self._features.effort_gain(about) * (acting.mean - acting.smooth)
        known = there.input_map @ command + (before.mean[self._d] + before.mean[self._e])
        return np.asarray(-(there.deficit + impulse @ about) / dt - known)
