# SPDX-License-Identifier: Apache-2.0
"""Sensor noise of many robots, each from its own generator.

Noise of many measurements is drawn at once, with the same numbers as one by one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_AHEAD = 64  # measurements


class NoiseStreams:
    """Standard normal vectors (T, size), one per measurement.

    Arguments:
        seeds: T seeds, one per robot.
        size: numbers per measurement.
        ahead: measurements drawn at once; affects only the computation time.
    """

    def __init__(self, seeds: Sequence[int | Sequence[int]], size: int, ahead: int = _AHEAD) -> None:
        self._generators = [np.random.default_rng(seed) for seed in seeds]
        self._size, self._ahead, self._used = size, ahead, ahead

    def next(self) -> Array:
        """Return (T, size) for the next measurement."""
        if self._used == self._ahead:
            drawn = [generator.standard_normal((self._ahead, self._size)) for generator in self._generators]
            self._drawn, self._used = np.stack(drawn, axis=1), 0
        self._used += 1
        return np.array(self._drawn[self._used - 1])
