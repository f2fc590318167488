# SPDX-License-Identifier: Apache-2.0
"""The part of an estimate that control uses: a physically possible context, with a growing share after the start.

The force of the rest of the estimated context counts as a disturbance. Both are computed when they are asked for: a
recording's adapter is asked less often than it gets samples.
"""

from __future__ import annotations

from collections.abc import Callable
from math import exp, inf

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.features import FeatureMap

Array = NDArray[np.float64]

STARTED = 10.0
"""Time constants of the start after which control uses the whole estimate."""


class ControlledContext:
    """share: of context and disturbance that control gets.

    start_s: time constant with which control passes from the nominal model to the estimate; 0: at once.
    """

    def __init__(self, start_s: float) -> None:
        self._start_s, self._since_s = start_s, 0.0
        self._existing: Array | None = None
        self._rest: Array | None = None
        self.share = self._share_now()

    def use(self, features: FeatureMap, context: Array, dof: int) -> None:
        """Take other features, and their context (k,)."""
        self._features, self._dof = features, dof
        self._estimated, self._existing, self._rest = context.copy(), None, np.zeros(dof)

    def skip_start(self) -> None:
        """Use the whole estimate from now on."""
        self._since_s = inf

    def passes(self, dt: float) -> None:
        """Time passes since the start."""
        self._since_s += dt

    def update(self, context: Array) -> None:
        """Take an estimated context (k,)."""
        self.share = self._share_now()
        self._estimated, self._existing, self._rest = context.copy(), None, None

    @property
    def context(self) -> Array:
        """The context (k,) that control gets."""
        return self.share * self._possible()

    def rest(self, design: Callable[[], Array]) -> Array:
        """Force (n,) of the rest of the estimate [Nm]. design: gives Φ (n, k) at the last sample."""
        if self._rest is None:
            rest = self.share * (self._estimated - self._possible())
            self._rest = design() @ rest if np.count_nonzero(rest) else np.zeros(self._dof)
        return self._rest

    def _possible(self) -> Array:
        if self._existing is None:
            self._existing = self._features.existing(self._estimated)
        return self._existing

    def _share_now(self) -> float:
        return 1.0 - exp(-self._since_s / self._start_s) if self._since_s < STARTED * self._start_s else 1.0
