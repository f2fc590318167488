# SPDX-License-Identifier: Apache-2.0
"""Velocities that are differences of the measured positions, v_k = (q_k - q_{k-1}) / T, and therefore measure nothing.

Their noise repeats that of the positions with opposite sign. A filter that takes them for measurements of their own
mistakes this for noise of the efforts: of an arm with encoder steps of 0.3 mrad it learned hardly anything. The
filter's own velocity, from positions and efforts, is better.

All joints agree on the interval T, to rounding; it need not be that of the stamps. The variance σ² of the
positions follows from third differences,

    σ² = E[(Δ_k - 2 Δ_{k-1} + Δ_{k-2})²] / 20        Δ_k = q_k - q_{k-1}

in which the motion itself hardly shows. Of a coarse encoder that does not change, nothing is learned.

A noiseless simulation can have such velocities, too (semi-implicit Euler). They are as smooth as the motion, and used.
"""

from __future__ import annotations

import ctypes
from math import exp

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.stream.library import FIRST_SAMPLES, LARGEST, NOISE_MEMORY_S, POINTER, stream_library
from metarl_robot.compile.kernel import Kernel

Array = NDArray[np.float64]

ROUNDING = 1e-6
"""Largest disagreement, over the largest motion, that is rounding."""
INTERVALS = 0.5, 2.0
"""Range of T, over that of the stamps."""


def difference_velocities(least: Array, compiled: bool = True) -> DifferenceVelocities:
    """Build a DifferenceVelocities. compiled: in C if there is a compiler."""
    library = stream_library(compiled)
    return DifferenceVelocities(least) if library is None else CompiledDifferenceVelocities(least, library)


class DifferenceVelocities:
    """Recognises them.

    position: (n,) variance of the positions [rad², m²].

    Arguments:
        least: (n,) least standard deviation of the positions.
    """

    def __init__(self, least: Array) -> None:
        self._least = np.square(least)
        self.position = self._least.copy()
        self._last, self._last_but_one, self._count = (np.zeros(len(least)) for _ in range(3))
        self._known, self._interval_s, self._agreeing = np.zeros(1), np.zeros(1), np.zeros(1)

    def found(self, moved: Array, v: Array, dt: float) -> bool:
        """Process a sample, `moved` (n,) from the last; returns whether its velocities v (n,) are differences."""
        if moved.any():
            self._agreeing[0] = self._agree(moved, v, dt)
        elif v.any():
            self._agreeing[0] = 0.0
        if self._agreeing[0] and self._known[0] == 2.0:
            self._learn(moved, 1.0 - exp(-dt / NOISE_MEMORY_S))
        self._last_but_one[:], self._last[:] = self._last, moved
        self._known[0] = min(self._known[0] + 1.0, 2.0)
        return bool(self._agreeing[0] and (self.position > self._least).any())

    def _learn(self, moved: Array, share: float) -> None:
        """Take a third difference into the variance of the joints that have changed."""
        size, now = np.square(moved - 2.0 * self._last + self._last_but_one) / 20.0, self.position
        changed = (moved != 0.0) | (self._last != 0.0) | (self._last_but_one != 0.0)
        self._count += changed
        size = np.where(self._count > FIRST_SAMPLES, np.minimum(size, LARGEST * now), size)
        now += changed * np.maximum(share, 1.0 / np.maximum(self._count, 1.0)) * (size - now)

    def _agree(self, moved: Array, v: Array, dt: float) -> bool:
        """Whether one interval T explains a motion. Of a single joint, it is the stamps' or the last of several."""
        rounding = ROUNDING * float(np.abs(moved).max())
        if np.count_nonzero(moved) > 1:
            interval_s = float(moved @ v) / (float(v @ v) + 1e-300)
            if not INTERVALS[0] * dt < interval_s < INTERVALS[1] * dt:
                return False
            self._interval_s[0] = interval_s
            return _equal(moved, interval_s * v, rounding)
        return _equal(moved, dt * v, rounding) or _equal(moved, float(self._interval_s[0]) * v, rounding)


class CompiledDifferenceVelocities(DifferenceVelocities):
    """DifferenceVelocities in C (stream.c). struct: the C struct.

    inputs: displacement and velocity (n,), where C reads a sample; None: arrays of its own.
    """

    def __init__(self, least: Array, library: Kernel, inputs: tuple[Array, Array] | None = None) -> None:
        super().__init__(least)
        self._moved, self._v = np.zeros((2, len(least))) if inputs is None else inputs
        self.struct = library.struct(
            "Differences",
            n=len(least), memory=NOISE_MEMORY_S, first=float(FIRST_SAMPLES), largest=LARGEST, rounding=ROUNDING,
            least_interval=INTERVALS[0], most_interval=INTERVALS[1], least=self._least, moved=self._moved, v=self._v,
            last=self._last, last_but_one=self._last_but_one, count=self._count, position=self.position,
            known=self._known, interval=self._interval_s, agreeing=self._agreeing,
        )  # fmt: skip
        self._self = ctypes.byref(self.struct)
        self._in_c = ctypes.CFUNCTYPE(ctypes.c_int, POINTER, ctypes.c_double)(("differences", library))

    def found(self, moved: Array, v: Array, dt: float) -> bool:
        self._moved[:], self._v[:] = moved, v
        return bool(self._in_c(self._self, dt))


def _equal(one: Array, other: Array, rounding: float) -> bool:
    return float(np.abs(one - other).max()) <= rounding
