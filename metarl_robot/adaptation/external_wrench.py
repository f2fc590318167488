# SPDX-License-Identifier: Apache-2.0
"""An external wrench (contact, a push) is not context: nothing is learned from it, and no plan pushes back against it.

A momentum filter explains every force by its context and its disturbance. If its best explanation is something that
cannot exist, such as a payload of negative mass, the force comes from outside. The model from before the contact is
then in force, as if nothing had been felt: the controller meets the obstacle with the stiffness of its tracking alone
and no force builds up. Beside it, the filter starts again from its prior. The held model ends

- when the new estimate again gives the same residual as the held model: the contact has ended; the held model is kept;
- when the robot has moved on, and an explanation that can exist has lasted: the model was wrong; the new one is kept.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.features import Xi
from metarl_robot.adaptation.filter_algebra import Belief
from metarl_robot.adaptation.momentum_filter import MomentumFilter
from metarl_robot.core.signals import Context, State

Array = NDArray[np.float64]

HELD_FROM_S = 0.15
"""The held model is the one in force this long before: it knows nothing of the contact."""
KEPT_EVERY_S = 0.02
AGREES_S = 0.05
"""A contact has ended when both models agree for as long."""
AGREES_WITHIN = 10.0
"""Largest root mean square difference of agreeing models, in standard deviations of the initial disturbance."""
EXPLAINED_S = 1.0
"""A new explanation is taken when it has lasted as long, in motion."""
MOVED_S = 0.1
"""Motion is needed to tell a model error from a contact: as far as full speed goes in this time."""


class ExternalWrenchGuard:
    """Adapter: a momentum filter, and its model from before while an external wrench acts.

    external_wrench: whether one acts. Other attributes are those of the filter that is in force.

    Arguments:
        inner: the filter.
        spare: a second one of the same configuration, to start again beside a held model.
        velocity_limit: (n,) [rad/s].
    """

    def __init__(self, inner: MomentumFilter, spare: MomentumFilter, velocity_limit: Array) -> None:
        self.inner, self._spare, self._velocity_limit = inner, spare, velocity_limit
        self._forget()

    def __getattr__(self, name: str) -> Any:
        if name == "inner":  # not set yet while being copied or unpickled
            raise AttributeError(name)
        return getattr(self.inner, name)

    def reset(self) -> None:
        self.inner.reset()
        self._forget()

    def _forget(self) -> None:
        self.external_wrench = False
        self._time_s, self._kept_s = 0.0, -np.inf
        self._kept: deque[tuple[float, Belief]] = deque(maxlen=round(2.0 * HELD_FROM_S / KEPT_EVERY_S))

    def update(self, state: State, effort: Array, dt: float) -> Context:
        self._time_s += dt
        if self.external_wrench:
            self._wait(state, effort, dt)
        else:
            self.inner.update(state, effort, dt)
            self._judge(state, effort, dt)
        return self.inner.context

    def _judge(self, state: State, effort: Array, dt: float) -> None:
        """Keep a model that can exist from time to time; hold an earlier one where the present one cannot."""
        if not self.inner.possible:
            if self._kept:
                self._hold(state, effort, dt)
        elif self.inner.hypotheses == 0 and self._time_s - self._kept_s >= KEPT_EVERY_S:
            self._kept.append((self._time_s, self.inner.belief.copy()))
            self._kept_s = self._time_s

    def _hold(self, state: State, effort: Array, dt: float) -> None:
        earlier = [belief for time_s, belief in self._kept if time_s <= self._time_s - HELD_FROM_S]
        self.inner.belief = (earlier[-1] if earlier else self._kept[0][1]).copy()
        self.inner.follow(state, effort, dt)
        self.external_wrench = True
        self._begin(state, effort, dt)

    def _begin(self, state: State, effort: Array, dt: float) -> None:
        """Begin to estimate anew beside the held model."""
        self._agreed_s = self._explained_s = self._moved_s = 0.0
        self._spare.reset()
        self._spare.update(state, effort, dt)

    def _wait(self, state: State, effort: Array, dt: float) -> None:
        """Look for the end of the contact, and for a better model."""
        held, fresh = self.inner, self._spare
        held.follow(state, effort, dt)
        fresh.update(state, effort, dt)
        self._moved_s += float(np.max(np.abs(state.v) / self._velocity_limit)) * dt
        explained = fresh.hypotheses == 0 and fresh.possible
        self._agreed_s = self._agreed_s + dt if self._agree(state, effort) else 0.0
        self._explained_s = self._explained_s + dt if explained else 0.0
        if self._agreed_s >= AGREES_S:
            self.external_wrench = False
        elif self._moved_s >= MOVED_S:
            self._after_motion(state, effort, dt)

    def _after_motion(self, state: State, effort: Array, dt: float) -> None:
        if self._explained_s >= EXPLAINED_S:
            self.inner, self._spare = self._spare, self.inner
            self._forget()
        elif self._spare.hypotheses == 0 and not self._spare.possible:
            self._begin(state, effort, dt)

    def _agree(self, state: State, effort: Array) -> bool:
        """Whether the held model and the new estimate give the same residual for the present motion."""
        difference = self.inner.residual(state, effort) - self._spare.residual(state, effort)
        return bool(np.sqrt(np.mean((difference / self.inner.disturbance_scale) ** 2)) < AGREES_WITHIN)

    def evaluate(self, xi: Xi) -> Array:
        return self.inner.evaluate(xi)

    def jacobian(self, xi: Xi) -> Array:
        return self.inner.jacobian(xi)

    def effort_gain(self) -> Array:
        return self.inner.effort_gain()

    def attached_body(self) -> Array:
        return self.inner.attached_body()

    def estimate(self, measured: State) -> State:
        return self.inner.estimate(measured)

    @property
    def latency_s(self) -> float:
        return self.inner.latency_s
