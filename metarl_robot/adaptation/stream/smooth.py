# SPDX-License-Identifier: Apache-2.0
"""Smoothing of a signal."""

from __future__ import annotations

import ctypes
from math import exp

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.stream.library import POINTER, stream_library
from metarl_robot.compile.kernel import Kernel, address

Array = NDArray[np.float64]


def smooth(level: Array, memory_s: float, compiled: bool = True) -> Smooth:
    """Build a Smooth. compiled: in C if there is a compiler."""
    library = stream_library(compiled)
    return Smooth(level, memory_s) if library is None else CompiledSmooth(level, memory_s, library)


class Smooth:
    """Holt's linear smoothing, critically damped: removes noise, and has no lag on ramps.

    Arguments:
        level: (n,) initial value of the signal.
        memory_s: time constant.
    """

    def __init__(self, level: Array, memory_s: float) -> None:
        self.level, self._trend, self._memory_s = level.copy(), np.zeros_like(level), memory_s

    def update(self, sample: Array, dt: float) -> None:
        theta = exp(-dt / self._memory_s)
        ahead = self.level + dt * self._trend
        off = sample - ahead
        self.level[:] = ahead + (1.0 - theta**2) * off
        self._trend += (1.0 - theta) ** 2 / dt * off


class CompiledSmooth(Smooth):
    """Smooth in C (stream.c)."""

    def __init__(self, level: Array, memory_s: float, library: Kernel) -> None:
        super().__init__(level, memory_s)
        self._sample = np.zeros_like(level)
        self._addresses = tuple(map(address, (self.level, self._trend, self._sample)))
        number = ctypes.c_double
        self._in_c = ctypes.CFUNCTYPE(None, *3 * (POINTER,), ctypes.c_long, number, number)(("smooth", library))

    def update(self, sample: Array, dt: float) -> None:
        self._sample[:] = sample
        self._in_c(*self._addresses, len(sample), dt, self._memory_s)
