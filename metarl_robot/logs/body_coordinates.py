# SPDX-License-Identifier: Apache-2.0
"""Coordinates in which every point is a body that can exist: log-Cholesky about a nominal body.

Ten numbers θ stand for mass m, centre c and second moment Σ about it, relative to the nominal m_0, c_0, Σ_0 = L Lᵀ:

    m = m_0 exp(θ_1)    c = c_0 + r (θ_2, θ_3, θ_4)    Σ = exp(θ_1) L U Uᵀ Lᵀ

U is upper triangular with the diagonal exp(θ_5), exp(θ_6), exp(θ_7) and the rest θ_8, θ_9, θ_10; r is the nominal
body's radius of gyration about its frame's origin. The pseudo-inertia is positive definite for all θ (Rucker, Wensing,
"Smooth parameterization of rigid-body inertia", RA-L 2022), and θ has no unit, so that one prior serves all sizes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

SIZE = 10
STD: Array = np.array([0.25, *[0.2] * 3, *[0.3] * 3, *[0.2] * 3])
"""Standard deviation of θ before the recordings: a quarter of the mass, a fifth of the link's size."""
_FLATTEST = 1e-4
"""Least second moment of a nominal body along an axis, as a share of its radius of gyration squared."""
_STEP = 1e-6
_PACKED = ([0, 1, 2, 0, 0, 1], [0, 1, 2, 1, 2, 2])
_SYMMETRIC = np.array([[0, 3, 4], [3, 1, 5], [4, 5, 2]])


class BodyCoordinates:
    """θ about one nominal body. nominal: π (10,) of dynamics/rigid_body.py, mass above zero."""

    def __init__(self, nominal: Array) -> None:
        self._mass, self._centre = float(nominal[0]), nominal[1:4] / nominal[0]
        inertia = nominal[4:][_SYMMETRIC]
        about_origin = 0.5 * np.trace(inertia) * np.eye(3) - inertia
        self.radius_m = float(np.sqrt(max(np.trace(about_origin) / self._mass, 1e-12)))
        values, axes = np.linalg.eigh(about_origin - self._mass * np.outer(self._centre, self._centre))
        least = _FLATTEST * self._mass * self.radius_m**2
        self._factor = np.linalg.cholesky((axes * np.maximum(values, least)) @ axes.T)

    def parameters(self, theta: Array) -> Array:
        """π (10,) at θ (10,)."""
        scale = np.exp(theta[0])
        mass, centre = self._mass * scale, self._centre + self.radius_m * theta[1:4]
        upper = np.diag(np.exp(theta[4:7]))
        upper[[0, 0, 1], [1, 2, 2]] = theta[7:]
        half = self._factor @ upper
        second = scale * half @ half.T + mass * np.outer(centre, centre)
        inertia = np.trace(second) * np.eye(3) - second
        return np.concatenate([[mass], mass * centre, inertia[_PACKED]])

    def jacobian(self, theta: Array) -> Array:
        """∂π/∂θ (10, 10), by central differences."""
        steps = _STEP * np.eye(SIZE)
        return np.stack(
            [(self.parameters(theta + each) - self.parameters(theta - each)) / (2.0 * _STEP) for each in steps], axis=1
        )
