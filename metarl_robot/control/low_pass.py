# SPDX-License-Identifier: Apache-2.0
"""Second-order Butterworth low-pass filter that also returns the derivative of its output.

x'' = w² (u - x) - √2 w x',    x and x' exact for an input held over a period.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import expm

Array = NDArray[np.float64]


class LowPass:
    """Low-pass filter with cutoff_rad_s = w, at rest at its first input."""

    def __init__(self, cutoff_rad_s: float, period_s: float) -> None:
        w = cutoff_rad_s
        flow = np.array([[0.0, 1.0, 0.0], [-w * w, -np.sqrt(2.0) * w, w * w], [0.0, 0.0, 0.0]])
        self._step = expm(flow * period_s)[:2]
        self._state: Array | None = None

    def step(self, value: Array) -> tuple[Array, Array]:
        """Filtered value and its derivative, with the shape of value (n,)."""
        if self._state is None:
            self._state = np.stack([value, np.zeros_like(value)])
        self._state = self._step[:, :2] @ self._state + np.outer(self._step[:, 2], value)
        return self._state[0], self._state[1]
