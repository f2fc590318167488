# SPDX-License-Identifier: Apache-2.0
"""Noise of positions and of stamps, and lasting errors of velocities."""

from __future__ import annotations

import ctypes
from math import exp

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.stream.library import FIRST_SAMPLES, LARGEST, NOISE_MEMORY_S, POINTER, stream_library
from metarl_robot.compile.kernel import Kernel

Array = NDArray[np.float64]
Inputs = tuple[Array, Array, Array]
"""Displacement, velocity, and variance of the velocity's white noise, (n,) each."""

SLOW_S, SLOW_CORRELATION_S = 0.05, 0.1
"""A lasting velocity error is averaged over the first time, and counts as correlated over the second."""


def sensor_noise(least: Array, compiled: bool = True) -> SensorNoise:
    """Build a SensorNoise. compiled: in C if there is a compiler."""
    library = stream_library(compiled)
    return SensorNoise(least) if library is None else CompiledSensorNoise(least, library)


class SensorNoise:
    """Noise of positions and stamps, and slow errors of velocities, from e_k = Δq - v̄ Δt.

    b_k = e_k - e_{k-1} has six times the variance of the noise of one sample. A stamp that is wrong by δ moves all
    positions, by -v δ: the part of b along v gives the variance of δ, the rest that of each position, less the share of
    the velocities. The mean of e_k / Δt over SLOW_S is a lasting velocity error, for example from filters that lag: it
    counts as white noise of SLOW_CORRELATION_S / Δt times its variance.

    position, velocity: (n,) variance of positions, and of velocities beyond their white noise. jitter: that of stamps.

    Arguments:
        least: (n,) least standard deviation of the position.
    """

    def __init__(self, least: Array) -> None:
        n = len(least)
        self._least = np.square(least)
        self.position, self.velocity = self._least.copy(), np.zeros(n)
        self._off, self._mean, self._last_v = np.zeros(n), np.zeros(n), np.zeros(n)
        self._stamp = np.zeros(2)  # variance of the stamps and its information
        self._known = np.zeros(1)  # samples so far

    @property
    def jitter(self) -> float:
        """Variance of the stamps [s²]."""
        return float(self._stamp[0])

    def update(self, moved: Array, v: Array, white: Array, dt: float) -> None:
        """Process a sample. moved: (n,) measured displacement; white: (n,) variance of the velocity's white noise."""
        known = float(self._known[0])
        self._known += 1.0
        off = moved - 0.5 * dt * (v + self._last_v)
        bend = off - self._off
        self._off[:], self._last_v[:] = off, v
        if known < 2.0:
            return
        share = max(1.0 - exp(-dt / NOISE_MEMORY_S), 1.0 / (known + FIRST_SAMPLES))
        bend = bend - v * self._of_stamp(bend, v, exp(-dt / NOISE_MEMORY_S))
        of_position = np.square(bend) / 6.0 - white * dt**2 / 12.0
        now = self.position
        now[:] = np.maximum(now + share * (np.minimum(of_position, LARGEST * now) - now), self._least)
        self._take_slow(off / dt, v, white, share, dt)

    def _of_stamp(self, bend: Array, v: Array, keep: float) -> float:
        """The part of `bend` that is due to the stamps, per velocity; their variance is updated."""
        jitter, information = self._stamp.tolist()
        fit, size = float(bend @ (v / self.position)), float(v @ (v / self.position)) + 1e-300
        information = keep * information + size**2
        excess = min(fit**2 / 6.0, LARGEST * (jitter * size**2 + size)) - size - jitter * size**2
        jitter = max(jitter + excess / (information + FIRST_SAMPLES * size**2 + 1e-300), 0.0)
        self._stamp[:] = jitter, information
        return float(jitter * fit / (jitter * size + 1.0))

    def _take_slow(self, error: Array, v: Array, white: Array, share: float, dt: float) -> None:
        fade, now = exp(-dt / SLOW_S), self.velocity
        self._mean[:] = fade * self._mean + (1.0 - fade) * error
        of_position = 2.0 * (1.0 - fade) ** 2 * (self.position + self.jitter * v**2) / dt**2
        known = (of_position + (1.0 - fade) * white) / (1.0 + fade)
        slow = SLOW_CORRELATION_S / dt * (np.square(self._mean) - known)
        now[:] = np.maximum(now + share * (np.minimum(slow, LARGEST * (now + white)) - now), 0.0)


class CompiledSensorNoise(SensorNoise):
    """SensorNoise in C (stream.c). struct: the C struct.

    inputs: where C reads a sample; None: arrays of its own.
    """

    def __init__(self, least: Array, library: Kernel, inputs: Inputs | None = None) -> None:
        super().__init__(least)
        own = np.zeros((3, len(least)))
        self._moved, self._v, self._white = own if inputs is None else inputs
        self.struct = library.struct(
            "Sensors",
            n=len(least), memory=NOISE_MEMORY_S, slow=SLOW_S, correlation=SLOW_CORRELATION_S,
            first=float(FIRST_SAMPLES), largest=LARGEST, least=self._least, moved=self._moved, v=self._v,
            white=self._white, off=self._off, mean=self._mean, last_v=self._last_v, stamp=self._stamp,
            position=self.position, velocity=self.velocity, known=self._known,
        )  # fmt: skip
        self._self = ctypes.byref(self.struct)
        self._in_c = ctypes.CFUNCTYPE(None, POINTER, ctypes.c_double)(("sensors", library))

    def update(self, moved: Array, v: Array, white: Array, dt: float) -> None:
        self._moved[:], self._v[:], self._white[:] = moved, v, white
        self._in_c(self._self, dt)
