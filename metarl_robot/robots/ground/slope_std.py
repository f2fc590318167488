# SPDX-License-Identifier: Apache-2.0
"""Standard deviations of the estimated slopes, as they are reported.

The ground may begin to rise without being noticed as a change: the estimated slopes z (2,) then move to their new
values within seconds, while the filter's variance σ_f² stays as it is. An estimate that moves has not arrived:

    σ² = k² σ_f² + c |z - z̄|² / 2

with the mean z̄ of the last MOVING_S. k and c are fitted to errors on recorded runs (`metarl calibration`).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.unexplained_force import STD_CALIBRATION
from metarl_robot.robots.ground.context_names import SLOPES

Array = NDArray[np.float64]

SETTLED = 0.6
"""k: standard deviation of a settled estimate over the filter's."""
MOVING_S, BY_MOTION = 1.0, 10.0
"""Memory of z̄, and c."""


class SlopeStd:
    """names: of the context's entries."""

    def __init__(self, names: Sequence[str]) -> None:
        self._slopes = [k for k, name in enumerate(names) if name in SLOPES]
        self._mean: Array | None = None
        self._motion = 0.0

    def follow(self, context: Array, dt: float) -> None:
        """Take the estimated context (k,), dt after the last one."""
        if self._slopes:
            slopes = context[self._slopes]
            before = slopes if self._mean is None else self._mean
            self._mean = before + (1.0 - exp(-dt / MOVING_S)) * (slopes - before)
            self._motion = float(np.mean(np.square(slopes - self._mean)))

    def of(self, std: Array) -> Array:
        """Reported standard deviations (k,) by those (k,) with the common factor."""
        reported = std.copy()
        settled = SETTLED / STD_CALIBRATION * std[self._slopes]
        reported[self._slopes] = np.sqrt(np.square(settled) + BY_MOTION * self._motion)
        return reported
