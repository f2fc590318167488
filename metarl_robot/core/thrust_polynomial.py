# SPDX-License-Identifier: Apache-2.0
"""Thrust as a polynomial of a rotor's speed or of a signal, and its inverse.

    T = a₀ + a₁ x + a₂ x²,     rising for the x >= 0 that occur

x is a speed Ω [rad/s] (usually with a₂ = k alone; a fit to a thrust stand has a₀ and a₁, too), or a signal from 0 to 1,
with T as a share of the largest thrust. PX4 has a₁ = 1 - f and a₂ = f with f = THR_MDL_FAC for signals of its
motors (src/lib/mixer_module/functions/FunctionMotors.hpp).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_SMALLEST = 1e-12
"""Least slope that is divided by."""


class ThrustPolynomial(NamedTuple):
    """See the module's docstring: a₀, a₁, a₂."""

    constant: float
    linear: float
    square: float

    @classmethod
    def of_factor(cls, factor: float) -> ThrustPolynomial:
        """Share of the largest thrust for a signal from 0 to 1, by PX4's THR_MDL_FAC."""
        return cls(0.0, 1.0 - factor, factor)

    def thrust(self, x: Array | float) -> Array:
        """T, any shape."""
        return np.asarray(self.constant + (self.linear + self.square * x) * x)

    def inverse(self, thrust: Array | float) -> Array:
        """The x >= 0 at which the thrust is reached, any shape; 0 for one that is not above a₀."""
        above = np.maximum(np.asarray(thrust) - self.constant, 0.0)
        root = np.sqrt(self.linear**2 + 4.0 * self.square * above)  # of the form that is exact for a₂ = 0 too
        return np.asarray(2.0 * above / np.maximum(self.linear + root, _SMALLEST))
