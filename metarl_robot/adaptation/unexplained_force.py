# SPDX-License-Identifier: Apache-2.0
"""The force that the context does not explain, and the scale of the reported standard deviations that follows from it.

The reported variance is the filter's times LEAST_VARIANCE + BY_FORCE |f / f_0|² / n, with the force f that the context
does not explain (d + e + c, its square averaged over a second) and a usual one f_0. As in a regression with an unknown
noise variance, an estimate is as uncertain as its residual is large: with a lasting model error, innovations are small
and P is too narrow.

Forgetting follows the same mean square, up to LARGEST_FORCE (forgetting.py). The report has a wider limit: friction of
real arms leaves forces of more than LARGEST_FORCE, and with one limit for both a scale that suits them is too large
where the model is right.
"""

from __future__ import annotations

from math import exp, sqrt

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

STD_CALIBRATION = 2.0
"""Factor from the filter's standard deviations to the reported ones, where `usual_force` does not scale them.

Model errors last longer than the filter assumes.
"""
LEAST_VARIANCE, BY_FORCE = 1.5, 0.6
"""Reported variance over the filter's, without unexplained force, and its increase for each |f / f_0|² / n."""
FORCE_MEMORY_S = 1.0
"""The square of the unexplained force is averaged over this time."""
LARGEST_FORCE, LARGEST_REPORTED = 5.0, 10.0
"""Limits of the unexplained force, as multiples of the usual one: for forgetting, and for the report."""


class UnexplainedForce:
    """mean_square: of the unexplained force over the usual one, for forgetting.

    usual: f_0 (n,) [Nm]; None: the force is not measured.
    """

    def __init__(self, usual: Array | None) -> None:
        self._usual, self.mean_square, self._reported = usual, 1.0, 1.0

    def measure(self, force: Array, dt: float) -> None:
        """Process the force (n,) that the context does not explain now."""
        if self._usual is not None:
            share = force / self._usual
            now, learned = float(share.dot(share)) / len(share), 1.0 - exp(-dt / FORCE_MEMORY_S)
            self.mean_square += learned * (min(now, LARGEST_FORCE**2) - self.mean_square)
            self._reported += learned * (min(now, LARGEST_REPORTED**2) - self._reported)

    @property
    def std_factor(self) -> float:
        """Factor from the filter's standard deviations to the reported ones."""
        return STD_CALIBRATION if self._usual is None else sqrt(LEAST_VARIANCE + BY_FORCE * self._reported)
