# SPDX-License-Identifier: Apache-2.0
"""The momentum filter of ground vehicles: disturbances keep their direction in the body, not in the world.

Errors of tyre forces, steering and load turn with the vehicle. After each sample the slow disturbance d, the fast one
e, their covariances and the missed force are therefore turned with the estimated heading, and in a plan with the
heading of each knot.

Friction shows under slip only: it is forgotten within FRICTION_S. Errors that last scale all noise levels
(lasting_error.py).

States with a specific force come from inertial odometry (inertial_odometry.py), whose errors last: other noise levels
apply (filter_tuning.py), and control gets its position as it is.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.features import Xi
from metarl_robot.adaptation.filter_algebra import Belief
from metarl_robot.adaptation.filter_tuning import FilterTuning
from metarl_robot.adaptation.momentum_filter import MomentumFilter
from metarl_robot.adaptation.momentum_step import Sample
from metarl_robot.core.signals import Context, State
from metarl_robot.robots.ground.context_names import FRICTION
from metarl_robot.robots.ground.filter_tuning import inertial
from metarl_robot.robots.ground.heading import turns
from metarl_robot.robots.ground.lasting_error import MOST, LastingError, LevelledAlarm
from metarl_robot.robots.ground.slope_std import SlopeStd

Array = NDArray[np.float64]

FRICTION_S = 10.0
"""Time constant with which friction is forgotten: it shows under slip only, and may change unseen until then."""


class BodyFilter(MomentumFilter):
    """See the module's docstring."""

    _noise: LastingError

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._whiteness: Any = LevelledAlarm(self._whiteness, lambda: self._noise.level)

    def reset(self) -> None:
        super().reset()
        self._inertial, self._slope_std = False, SlopeStd(self._features.names)
        self._noise = self._noise_of(self._tuning)

    def _sample(self, state: State, effort: Array, dt: float) -> Sample:
        sample = super()._sample(state, effort, dt)
        if FRICTION in self._features.names:
            self._algebra.forgetting_s[self._features.names.index(FRICTION)] = FRICTION_S
        return sample

    @property
    def context(self) -> Context:
        """See Adapter and slope_std.py. While the context is held at the prior's mean, so are its deviations."""
        found = super().context
        holding = self._restarts.holding
        std = np.sqrt(self._prior.covariance.diagonal()) if holding else self._slope_std.of(found.std)
        return Context(found.names, found.mean, std)

    def advance(self, state: State, effort: Array, dt: float) -> None:
        before = self.belief.position[2] if self._started else state.q[2]
        self._sense(state)
        super().advance(State(state.q, state.v), effort, dt)
        turn = turns(self.belief.position[2] - before)
        beliefs = (self.belief, *(hypothesis.belief for hypothesis in self._test.alive))
        for belief in {id(belief): belief for belief in beliefs}.values():  # a hypothesis may share the filter's own
            self._turn(belief, turn)
        self._missed.force = turn @ self._missed.force
        self._slope_std.follow(self._context, dt)

    def estimate(self, measured: State) -> State:
        found = super().estimate(measured)
        return found if measured.specific_force is None else State(measured.q, found.v, measured.specific_force)

    def _sense(self, state: State) -> None:
        """Take the noise levels of the state's source, if it is another than before."""
        by_imu = state.specific_force is not None
        if by_imu is not self._inertial:
            self._inertial, tuning = by_imu, inertial(self._tuning) if by_imu else self._tuning
            self._noise = self._noise_of(tuning)
            self._noise.start(state)

    def _noise_of(self, tuning: FilterTuning) -> LastingError:
        """Inertial odometry has known levels; without a context to estimate there is nothing that errors spoil."""
        estimates = self._prior.covariance.any()
        most = MOST if estimates and not self._inertial else 1.0
        return LastingError(tuning, self._dynamics, self._compiled, most)

    def _turn(self, belief: Belief, turn: Array) -> None:
        """Turn d and e and their covariances, in place."""
        for part in (self._d, self._e):
            belief.mean[part] = turn @ belief.mean[part]
            belief.covariance[part] = turn @ belief.covariance[part]
            belief.covariance[:, part] = belief.covariance[:, part] @ turn.T

    def evaluate(self, xi: Xi) -> Array:
        value = self._features.value(xi, self._controlled.context)
        if not self._started:
            return np.asarray(value + self.compensated)
        return np.asarray(value + turns(xi.q[:, 2] - self.belief.position[2]) @ self.compensated)
