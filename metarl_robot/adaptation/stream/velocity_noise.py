# SPDX-License-Identifier: Apache-2.0
"""Noise of measured velocities."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from math import exp

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.stream.library import NOISE_MEMORY_S, POINTER, stream_library
from metarl_robot.compile.kernel import Kernel

Array = NDArray[np.float64]
IntArray = NDArray[np.intp]

NOISE_VARIANCE_RANGE = (1e-3**2, 0.2**2)
"""Range of the variance [(rad/s)²]. The lower end covers quantisation and the model's own discretisation."""


def velocity_noise(initial: Sequence[float], group: IntArray, compiled: bool = True) -> VelocityNoise:
    """Build a VelocityNoise. compiled: in C if there is a compiler."""
    library = stream_library(compiled)
    return VelocityNoise(initial, group) if library is None else CompiledVelocityNoise(initial, group, library)


class VelocityNoise:
    """Variance of the velocity measurement's noise: σ² = E[(v_k - 2 v_{k-1} + v_{k-2})²] / 6.

    The motion itself hardly changes second differences (jerk dt²). A jolt counts at most as four times the present
    estimate.

    Arguments:
        initial: (groups,) initial standard deviation.
        group: (n,) group of each velocity; the velocities of a group share one estimate.
    """

    def __init__(self, initial: Sequence[float], group: IntArray) -> None:
        self.variance = np.square(np.asarray(initial, dtype=np.float64))
        self._share_of = (group == np.arange(len(self.variance))[:, None]) / np.bincount(group)[:, None]
        self._last, self._step = np.zeros(len(group)), np.zeros(len(group))
        self._known = np.zeros(1)  # samples so far, at most two

    def update(self, v: Array, dt: float) -> None:
        step = v - self._last
        bend = step - self._step
        self._last[:], self._step[:] = v, step
        if self._known[0] == 2.0:
            share, now = 1.0 - exp(-dt / NOISE_MEMORY_S), self.variance
            moved = now + share * (np.minimum(self._share_of @ (bend * bend) / 6.0, 4.0 * now) - now)
            self.variance[:] = np.clip(moved, *NOISE_VARIANCE_RANGE)
        self._known[0] = min(self._known[0] + 1.0, 2.0)


class CompiledVelocityNoise(VelocityNoise):
    """VelocityNoise in C (stream.c). struct: the C struct.

    v: (n,) where C reads the sample; None: an array of its own.
    """

    def __init__(self, initial: Sequence[float], group: IntArray, library: Kernel, v: Array | None = None) -> None:
        super().__init__(initial, group)
        self._v, (least, most) = np.zeros(len(group)) if v is None else v, NOISE_VARIANCE_RANGE
        self.struct = library.struct(
            "Noise",
            n=len(group), groups=len(self.variance), memory=NOISE_MEMORY_S, least=least, most=most,
            share_of=self._share_of, v=self._v, last=self._last, step=self._step, variance=self.variance,
            known=self._known,
        )  # fmt: skip
        self._self = ctypes.byref(self.struct)
        self._in_c = ctypes.CFUNCTYPE(None, POINTER, ctypes.c_double)(("noise", library))

    def update(self, v: Array, dt: float) -> None:
        self._v[:] = v
        self._in_c(self._self, dt)
