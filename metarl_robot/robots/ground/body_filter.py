# SPDX-License-Identifier: Apache-2.0
"""The momentum filter of ground vehicles: disturbances keep their direction in the body, not in the world.

Errors of tyre forces, steering and load turn with the vehicle. After each sample the slow disturbance d, the fast one
e, their covariances and the missed force are therefore turned with the estimated heading, and in a plan with the
heading of each knot.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.features import Xi
from metarl_robot.adaptation.filter_algebra import Belief
from metarl_robot.adaptation.momentum_filter import MomentumFilter
from metarl_robot.core.signals import State
from metarl_robot.robots.ground.heading import turns

Array = NDArray[np.float64]


class BodyFilter(MomentumFilter):
    """See the module's docstring."""

    def advance(self, state: State, effort: Array, dt: float) -> None:
        before = self.belief.position[2] if self._started else state.q[2]
        super().advance(state, effort, dt)
        turn = turns(self.belief.position[2] - before)
        beliefs = (self.belief, *(hypothesis.belief for hypothesis in self._test.alive))
        for belief in {id(belief): belief for belief in beliefs}.values():  # a hypothesis may share the filter's own
            self._turn(belief, turn)
        self._missed.force = turn @ self._missed.force

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
