# SPDX-License-Identifier: Apache-2.0
"""The momentum filter of ground vehicles: what the model misses keeps its direction in the body, not in the world.

A tyre's force, a steering error or a load turn with the vehicle. The slow disturbance d, the fast one e and the missed
force are therefore turned with the estimated heading after each sample, with their covariances, and in a plan with the
heading of each knot.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.features import Xi
from metarl_robot.adaptation.filter_algebra import Belief
from metarl_robot.adaptation.momentum_filter import MomentumFilter
from metarl_robot.core.signals import State

Array = NDArray[np.float64]


class BodyFilter(MomentumFilter):
    """See the module's docstring."""

    def advance(self, state: State, effort: Array, dt: float) -> None:
        before = self.belief.position[2] if self._started else state.q[2]
        super().advance(state, effort, dt)
        turn = _turn(self.belief.position[2] - before)
        for belief in {id(belief): belief for belief in (self.belief, *(h.belief for h in self._hypotheses))}.values():
            self._turned(belief, turn)
        self._missed = turn @ self._missed

    def _turned(self, belief: Belief, turn: Array) -> None:
        """Turn d and e and their covariances, in place."""
        for part in (self._d, self._e):
            belief.mean[part] = turn @ belief.mean[part]
            belief.covariance[part] = turn @ belief.covariance[part]
            belief.covariance[:, part] = belief.covariance[:, part] @ turn.T

    def evaluate(self, xi: Xi) -> Array:
        force, turned = self.compensated, xi.q[:, 2] - self.belief.position[2] if self._started else 0.0 * xi.q[:, 2]
        c, s = np.cos(turned), np.sin(turned)
        along, across = c * force[0] - s * force[1], s * force[0] + c * force[1]
        rest = np.stack([along, across, np.full(len(turned), force[2])], axis=1)
        return np.asarray(rest + self._features.value(xi, self._existing))


def _turn(angle: float) -> Array:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
