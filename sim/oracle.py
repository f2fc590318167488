# SPDX-License-Identifier: Apache-2.0
"""The oracle: an adapter with the true physics, to measure a controller's loss due to unknown physics.

A kind provides the known quantities as features with their true coefficients. A disturbance observer estimates the
remainder, as in the learning controllers. Simulation only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from metarl_robot.adaptation.features import FeatureMap
from metarl_robot.adaptation.filter_tuning import FilterTuning, Prior
from metarl_robot.adaptation.momentum_filter import MomentumFilter
from metarl_robot.dynamics.protocols import Dynamics


class OracleAdapter(MomentumFilter):
    """A momentum filter with the true context; `observe` sets a new one.

    known: task -> features and, as a prior without uncertainty, their true coefficients.
    """

    def __init__(
        self, dynamics: Dynamics, known: Callable[[Any], tuple[FeatureMap, Prior]], task: Any, tuning: FilterTuning
    ) -> None:
        super().__init__(dynamics, *known(task), tuning)
        self._known = known

    def observe(self, task: Any) -> None:
        """Take the true context after a change; keep velocity and disturbance."""
        before, head = self.belief, slice(0, 4 * self._n)
        self._use(*self._known(task))
        self.belief.position, self.belief.mean[head] = before.position, before.mean[head]
        self.belief.covariance[head, head] = before.covariance[head, head]
