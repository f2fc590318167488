# SPDX-License-Identifier: Apache-2.0
"""A signal as a log holds it, before joints and units are those of the robot; rows that grow while a file is read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metarl_robot.logs.recording import Repair

Array = NDArray[np.float64]
Stamps = NDArray[np.int64]

MOST_SAMPLES = 4_000_000
"""More samples of a log are not read: more than an hour at 1 kHz, at most 0.7 GB for seven joints."""
_BLOCK = 4096


@dataclass(frozen=True, eq=False)
class Series:
    """Samples of one signal.

    stamps_ns: (K,) as recorded, in any order. values: (K, n) in the robot's order of joints, in the log's unit.
    """

    stamps_ns: Stamps
    values: Array


@dataclass(frozen=True, eq=False)
class RawLog:
    """The signals of a log, by key of the map: position, velocity, effort. velocity may be absent."""

    signals: dict[str, Series]
    repairs: tuple[Repair, ...]


class Rows:
    """Rows of `width` numbers with a stamp each, in blocks of bounded size."""

    def __init__(self, width: int) -> None:
        self._width, self._count = width, 0
        self._stamps: list[Stamps] = []
        self._values: list[Array] = []

    def __len__(self) -> int:
        return self._count

    def add(self, stamp_ns: int, row: Array) -> None:
        """Append a row (width,)."""
        place = self._count % _BLOCK
        if place == 0:
            self._stamps.append(np.empty(_BLOCK, np.int64))
            self._values.append(np.empty((_BLOCK, self._width)))
        self._stamps[-1][place], self._values[-1][place] = stamp_ns, row
        self._count += 1

    def series(self) -> Series:
        """All rows."""
        if not self._count:
            return Series(np.empty(0, np.int64), np.empty((0, self._width)))
        return Series(np.concatenate(self._stamps)[: self._count], np.concatenate(self._values)[: self._count])
