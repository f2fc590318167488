# SPDX-License-Identifier: Apache-2.0
"""Second-order Butterworth low-pass filter that also returns the derivative of its output.

x'' = w² (u - x) - √2 w x',    x and x' exact for an input held over each step, however long it is.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class LowPass:
    """Low-pass filter with cutoff_rad_s = w, at rest at its first input."""

    def __init__(self, cutoff_rad_s: float) -> None:
        self._decay = cutoff_rad_s / math.sqrt(2.0)
        self._value: Array | None = None

    def step(self, value: Array, dt: float) -> tuple[Array, Array]:
        """Filtered value and its derivative, with the shape of value (n,), after dt [s] at this input.

        With s = w / √2, the rest y = x - u decays as e^(-s t) (y cos st + (y + x'/s) sin st).
        """
        if self._value is None:
            self._value, self._change = value, np.zeros_like(value)
        s, rest = self._decay, self._value - value
        kept, cosine, sine = math.exp(-s * dt), math.cos(s * dt), math.sin(s * dt)
        self._value = value + kept * (rest * (cosine + sine) + self._change * (sine / s))
        self._change = kept * (self._change * (cosine - sine) - rest * (2.0 * s * sine))
        return self._value, self._change
