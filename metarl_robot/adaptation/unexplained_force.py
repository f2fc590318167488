# SPDX-License-Identifier: Apache-2.0
"""The force that the context does not explain, and the scale of the reported standard deviations that follows from it.

The reported variance is the filter's times 1 + |f / f_0|² / n, with the force f that the context does not explain
(d + e + c, averaged over a second) and a usual one f_0. As in a regression with an unknown noise variance, an estimate
is as uncertain as its residual is large: with a lasting model error, innovations are small and P is too narrow.
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
FORCE_MEMORY_S, LARGEST_FORCE = 1.0, 5.0
"""The unexplained force is averaged over FORCE_MEMORY_S and limited to LARGEST_FORCE times the usual force."""


class UnexplainedForce:
    """mean_square: of the unexplained force over the usual one.

    usual: f_0 (n,) [Nm]; None: the force is not measured.
    """

    def __init__(self, usual: Array | None) -> None:
        self._usual, self.mean_square = usual, 1.0

    def measure(self, force: Array, dt: float) -> None:
        """Process the force (n,) that the context does not explain now."""
        if self._usual is not None:
            share = force / self._usual
            now = min(float(share @ share) / len(share), LARGEST_FORCE**2)
            self.mean_square += (1.0 - exp(-dt / FORCE_MEMORY_S)) * (now - self.mean_square)

    @property
    def std_factor(self) -> float:
        """Factor from the filter's standard deviations to the reported ones."""
        return STD_CALIBRATION if self._usual is None else sqrt(1.0 + self.mean_square)
