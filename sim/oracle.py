# SPDX-License-Identifier: Apache-2.0
"""The oracle: an adapter that is told the true physics, so that a controller's loss to ignorance can be measured.

A kind says what is told, as features and their true coefficients; a disturbance observer takes what remains, as in the
controllers that have to learn. Simulation only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from metarl_robot.adaptation.features import FeatureMap
from metarl_robot.adaptation.momentum_filter import FilterTuning, MomentumFilter, Prior
from metarl_robot.dynamics.protocols import Dynamics


class OracleAdapter(MomentumFilter):
    """A momentum filter whose context is the truth; `observe` tells it a new one.

    known: task -> features and, as a prior without doubt, their true coefficients.
    """

    def __init__(
        self, dynamics: Dynamics, known: Callable[[Any], tuple[FeatureMap, Prior]], task: Any, tuning: FilterTuning
    ) -> None:
        super().__init__(dynamics, *known(task), tuning)
        self._known = known

    def observe(self, task: Any) -> None:
        """The physics have changed: take the new truth, keep velocity and disturbance."""
        before, head = self._belief, slice(0, 4 * self._n)
        self._use(*self._known(task))
        self._belief.position, self._belief.mean[head] = before.position, before.mean[head]
        self._belief.covariance[head, head] = before.covariance[head, head]
        self._hypotheses = []
