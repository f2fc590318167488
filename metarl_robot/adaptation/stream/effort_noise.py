# SPDX-License-Identifier: Apache-2.0
"""Noise of efforts, and the size of the model error."""

from __future__ import annotations

import ctypes
from math import exp

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.stream.library import FIRST_SAMPLES, LARGEST, POINTER, stream_library
from metarl_robot.compile.kernel import Kernel, address

Array = NDArray[np.float64]

EFFORT_NOISE_MEMORY_S = 1.0
ERROR_WINDOW_S, ERROR_MEMORY_S = 0.05, 0.5
"""A model error adds up over the first time; its size is averaged over the second."""
MOST_ERROR = 50.0
"""Largest model error, as a multiple of the least."""


def effort_noise(error: Array, nu: int, compiled: bool = True) -> EffortNoise:
    """Build an EffortNoise. compiled: in C if there is a compiler."""
    library = stream_library(compiled)
    return EffortNoise(error, nu) if library is None else CompiledEffortNoise(error, nu, library)


class EffortNoise:
    """White noise of efforts and size of the fast model error, from whitened innovations.

    A sample measures the error of effort j with the variance 1 / J_j, J_j = |r_j|², r_j the response of the whitened
    innovation w to it. (r_jᵀ w)² / J_j² exceeds 1 / J_j by the variance that the filter lacks (Fisher scoring of a
    variance component). Errors that last as long as the model error add up over ERROR_WINDOW_S: as long as their mean
    square is too large, the model error grows.

    white: (nu,) variance of the efforts' noise. error: (n,) variance of the model error. Only if each effort acts on
    one coordinate (nu = n) is the latter estimated.

    Arguments:
        error: (n,) least standard deviation of the model error.
        nu: number of efforts.
    """

    def __init__(self, error: Array, nu: int) -> None:
        self._least = np.square(error)
        self.error, self.white = self._least.copy(), np.zeros(nu)
        self._information, self._sum = np.zeros(nu), np.zeros(nu)

    def update(self, white: Array, response: Array, dt: float) -> None:
        """Process a whitened innovation (m,) and its response (m, nu); contiguous arrays."""
        fit, size = white @ response, np.square(response).sum(axis=0) + 1e-300
        self._information[:] = exp(-dt / EFFORT_NOISE_MEMORY_S) * self._information + size**2
        excess = np.minimum(fit**2, LARGEST * size) - size
        self.white[:] = np.maximum(self.white + excess / (self._information + FIRST_SAMPLES * size**2), 0.0)
        fade = exp(-dt / ERROR_WINDOW_S)
        self._sum[:] = fade * self._sum + fit / np.sqrt(size)
        if len(self.error) == len(self.white):
            too_large = np.clip(np.square(self._sum) * (1.0 - fade**2) - 1.0, -1.0, 3.0)
            grown = self.error * np.exp((1.0 - exp(-dt / ERROR_MEMORY_S)) * too_large)
            self.error[:] = np.clip(grown, self._least, MOST_ERROR**2 * self._least)


class CompiledEffortNoise(EffortNoise):
    """EffortNoise in C (stream.c)."""

    def __init__(self, error: Array, nu: int, library: Kernel) -> None:
        super().__init__(error, nu)
        self._struct = library.struct(
            "Efforts",
            n=len(error), nu=nu, memory=EFFORT_NOISE_MEMORY_S, window=ERROR_WINDOW_S, error_memory=ERROR_MEMORY_S,
            first=float(FIRST_SAMPLES), largest=LARGEST, most=MOST_ERROR**2, least=self._least,
            information=self._information, sum=self._sum, white=self.white, error=self.error,
        )  # fmt: skip
        self._self, number = ctypes.byref(self._struct), ctypes.c_double
        self._in_c = ctypes.CFUNCTYPE(None, *3 * (POINTER,), ctypes.c_long, number)(("efforts", library))

    def update(self, white: Array, response: Array, dt: float) -> None:
        self._in_c(self._self, address(white), address(response), len(white), dt)
