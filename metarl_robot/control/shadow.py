# SPDX-License-Identifier: Apache-2.0
"""Shadow mode: the learning part of a controller, fed with the states and efforts of another controller's loop.

Before it learns from a state, it predicts the force that the nominal model has missed since the last state, along the
motion that took place. Prediction and measurement are momentum balances, as means over WINDOW_S:

    measured   (p_1 - p_0 - ∫ (β + B u) dt) / Δt         predicted   ∫ Δ(ξ; z_0) dt / Δt

with the context z_0 from before the new state. `error_ratio` is the root mean square of their difference over SCORED_S,
divided by that of the measured force: 0 is perfect, 1 is as good as the nominal model. Forces are compared by the
acceleration that they cause, in the norm Δᵀ M⁻¹ Δ, so that joints and axes of any size count alike.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.base import Adapter, expect_measured_efforts, external_of, skip_start
from metarl_robot.adaptation.features import Interval
from metarl_robot.adaptation.wrapped import WrappedAdapter
from metarl_robot.control.state_rate import StateRate
from metarl_robot.core.errors import MetaRLError
from metarl_robot.core.external_force import ExternalForce
from metarl_robot.core.robot import Robot, named
from metarl_robot.core.signals import Context, State
from metarl_robot.dynamics.protocols import Dynamics
from metarl_robot.safety.input_validation import MAX_STEP_S
from metarl_robot.safety.sample_check import OUTAGE_S

Array = NDArray[np.float64]

WINDOW_S = 0.1
"""Time over which forces are averaged: noise of velocities then costs a few per cent of a rated payload."""
SCORED_S = 10.0
"""Time over which predictions are scored."""


class Prediction(NamedTuple):
    """Forces (n,) beyond the nominal model, means over the last WINDOW_S: measured, and as predicted before."""

    measured: Array
    predicted: Array


class Observation(NamedTuple):
    """What a state has taught. prediction: None while its window lasts."""

    context: Context
    external: ExternalForce | None
    prediction: Prediction | None


class PredictingAdapter(WrappedAdapter[Adapter]):
    """An adapter that predicts each interval before it learns from it. latest: of the last full window."""

    def __init__(self, inner: Adapter, dynamics: Dynamics) -> None:
        self.inner, self._dynamics = inner, dynamics
        self._forget()

    def _forget(self) -> None:
        self.latest: Prediction | None = None
        self._before: State | None = None
        self._past: deque[Array] = deque(maxlen=2)
        self._scores: deque[tuple[float, float]] = deque(maxlen=round(SCORED_S / WINDOW_S))
        self._begin()

    def miss(self) -> None:
        """States are missing until the next sample: predict nothing there."""
        self._before = None
        self._begin()

    def _begin(self) -> None:
        self._elapsed_s, self._impulses = 0.0, np.zeros((2, self._dynamics.dof))

    def reset(self) -> None:
        self.inner.reset()
        self._forget()

    @property
    def error_ratio(self) -> float | None:
        """See the module's docstring; None before the first full window."""
        if not self._scores:
            return None
        error, measured = np.sum(self._scores, axis=0)
        return float(np.sqrt(error / max(measured, 1e-12)))

    def update(self, state: State, effort: Array, dt: float) -> Context:
        before, self._before = self._before, state
        if before is not None:
            self._compare(before, state, effort, dt)
        self._past.append(effort)
        return self.inner.update(state, effort, dt)

    def _compare(self, before: State, state: State, effort: Array, dt: float) -> None:
        attached = self.inner.attached_body()
        balance = self._dynamics.balance(before.q, before.v, state.v, dt, attached, effort)
        mass = balance.mass.copy()
        measured = -(balance.deficit + dt * (balance.input_map @ effort))
        carried = balance.attached_impulse @ attached
        past = np.stack([self._past[-1], self._past[0]] if self._past else [effort, effort])
        middle = Interval(before.q, before.v, state.v, effort, past, dt, balance).middle
        self._impulses += measured, carried + dt * np.broadcast_to(self.inner.evaluate(middle), (1, len(measured)))[0]
        self._elapsed_s += dt
        if self._elapsed_s >= WINDOW_S - 1e-9:
            self._end(mass)

    def _end(self, mass: Array) -> None:
        self.latest = Prediction(*(self._impulses / self._elapsed_s))
        both = np.stack([self.latest.measured - self.latest.predicted, self.latest.measured])
        error, measured = np.sum(both * np.linalg.solve(mass, both.T).T, axis=1)
        self._scores.append((float(error), float(measured)))
        self._begin()


class Shadow:
    """Learns beside another controller; see the module's docstring.

    restarts: number of times that it began again: after a pause beyond OUTAGE_S, on a new time base, at another rate of
        the states.

    Arguments:
        robot: the robot.
        make: makes the controller whose learning part is used, for the robot at a period of its states.
        measured_efforts: whether efforts are measured, else commanded.
    """

    def __init__(self, robot: Robot, make: Callable[[Robot], Any], measured_efforts: bool = False) -> None:
        self._robot, self._make, self._measured_efforts = robot, make, measured_efforts
        self._dynamics: Dynamics = named(robot.dynamics)(robot)
        self._rate = StateRate(robot.control_period_s)
        self._learner = self._built(robot)
        self.restarts = -1
        self.restart()

    def _built(self, robot: Robot) -> Any:
        learner = self._make(robot)
        if not callable(getattr(learner, "learn", None)):
            raise MetaRLError(
                f"{type(learner).__name__} learns nothing, so that it has no shadow; use {robot.adaptive_controller}"
            )
        learner.adapter = PredictingAdapter(learner.adapter, self._dynamics)
        if self._measured_efforts:
            expect_measured_efforts(learner.adapter)
        return learner

    def restart(self) -> None:
        """Begin again from the prior."""
        self._learner.reset()
        skip_start(self._adapter)
        self._taken_s: float | None = None
        self._seen_s = 0.0
        self._reported: Prediction | None = None
        self._impulse = np.zeros(self._robot.nu)
        self.restarts += 1

    @property
    def _adapter(self) -> PredictingAdapter:
        found: PredictingAdapter = self._learner.adapter
        return found

    @property
    def error_ratio(self) -> float | None:
        """See the module's docstring; None before the first predictions."""
        return self._adapter.error_ratio

    def observe(self, time_s: float, state: State, effort: Array) -> Observation | None:
        """Learn from a state.

        Arguments:
            time_s: its stamp.
            state: measured then.
            effort: (nu,) that acted since the last state.

        Returns:
            None if the state is only averaged, or is the first after a pause.
        """
        since_s, self._seen_s = time_s - self._seen_s, time_s
        if self._taken_s is None or not 0.0 < since_s <= OUTAGE_S:
            self._first(time_s, state, effort)
            return None
        if since_s > MAX_STEP_S:
            self._adapter.miss()
            self._take(time_s, state, effort)
            return None
        self._impulse += since_s * effort
        if time_s - self._taken_s + 0.5 * since_s < self._robot.control_period_s - 1e-9:
            return None  # the next state is nearer to one control period
        effort = self._impulse / (time_s - self._taken_s)
        if self._rate.changed(time_s):
            self._learner = self._built(self._robot.at_period(self._rate.period_s))
            self._first(time_s, state, effort)
            return None
        context = self._take(time_s, state, effort)
        latest = self._adapter.latest
        fresh = None if latest is self._reported else latest
        self._reported = latest
        return Observation(context, external_of(self._adapter), fresh)

    def _first(self, time_s: float, state: State, effort: Array) -> None:
        if self._taken_s is not None:
            self.restart()
        self._seen_s = time_s
        self._take(time_s, state, effort)

    def _take(self, time_s: float, state: State, effort: Array) -> Context:
        self._taken_s, self._impulse = time_s, np.zeros(self._robot.nu)
        return self._learner.learn(time_s, state, effort)
