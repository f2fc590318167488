# SPDX-License-Identifier: Apache-2.0
"""Whether innovations are as random as the filter believes."""

from __future__ import annotations

import ctypes

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtri

from metarl_robot.adaptation.stream.library import POINTER, stream_library
from metarl_robot.compile.kernel import Kernel

Array = NDArray[np.float64]

WINDOWS = (1, 4, 16)
"""Samples over which innovations are averaged: one shows a large change, sixteen a small lasting one."""


def whiteness(probability: float, size: int, more: int = 0, compiled: bool = True) -> Whiteness:
    """Build a Whiteness. compiled: in C if there is a compiler."""
    library = stream_library(compiled)
    return (
        Whiteness(probability, size, more) if library is None else CompiledWhiteness(probability, size, more, library)
    )


class Whiteness:
    """Whiteness test of innovations: with a correct model they are independent N(0, 1) (Mehra, Peschon 1971).

    Arguments:
        probability: false-alarm probability per sample and window; 0: never an alarm.
        size: length of an innovation, which may have up to `more` further entries.
    """

    def __init__(self, probability: float, size: int, more: int = 0) -> None:
        self._threshold = float(chdtri(size, probability))
        self._white, self._recent = np.zeros(size + more), np.zeros((max(WINDOWS), size + more))  # the latest first
        self._count = 0

    def clear(self) -> None:
        """Discard all innovations so far."""
        self._count = 0

    def fails(self, white: Array) -> bool:
        """Add a whitened innovation; true if the mean over one of the windows is improbable."""
        self._white[: len(white)], self._white[len(white) :] = white, 0.0
        self._count += 1
        return self._improbable()

    def _improbable(self) -> bool:
        self._recent[1:] = self._recent[:-1]
        self._recent[0] = self._white
        sums = [self._recent[:window].sum(axis=0) for window in WINDOWS if window <= self._count]
        return any(
            float(total @ total) > self._threshold * window for total, window in zip(sums, WINDOWS, strict=False)
        )


class CompiledWhiteness(Whiteness):
    """Whiteness in C (stream.c)."""

    def __init__(self, probability: float, size: int, more: int, library: Kernel) -> None:
        super().__init__(probability, size, more)
        self._windows = np.array(WINDOWS, dtype=np.float64)
        self._struct = library.struct(
            "Whiteness",
            size=size + more, windows=len(WINDOWS), width=max(WINDOWS), threshold=self._threshold,
            window=self._windows, white=self._white, recent=self._recent,
        )  # fmt: skip
        self._self = ctypes.byref(self._struct)
        self._in_c = ctypes.CFUNCTYPE(ctypes.c_int, POINTER, ctypes.c_long)(("fails", library))

    def _improbable(self) -> bool:
        return bool(self._in_c(self._self, self._count))
