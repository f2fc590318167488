# SPDX-License-Identifier: Apache-2.0
"""A signal as a log holds it, before joints and units are those of the robot.

Rows grow while a file is read; broken ones are left out and counted.
"""

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
_PLURALS = {
    **{"position": "positions", "velocity": "velocities", "effort": "efforts"},
    **{"attitude": "attitudes", "specific_force": "specific forces", "rotors": "values of rotors"},
}


@dataclass(frozen=True, eq=False)
class Series:
    """Samples of one signal.

    stamps_ns: (K,) as recorded, in any order. values: (K, n) in the robot's order of joints, in the log's unit.
    """

    stamps_ns: Stamps
    values: Array


@dataclass(frozen=True, eq=False)
class RawLog:
    """The signals of a log, by key of the map; those that are not needed may be absent."""

    signals: dict[str, Series]
    repairs: tuple[Repair, ...]


class Rows:
    """Rows of `width` numbers with a stamp each, in blocks of bounded size."""

    def __init__(self, width: int) -> None:
        self.width, self._count = width, 0
        self._stamps: list[Stamps] = []
        self._values: list[Array] = []

    def __len__(self) -> int:
        return self._count

    def add(self, stamp_ns: int, row: Array) -> None:
        """Append a row (width,)."""
        place = self._count % _BLOCK
        if place == 0:
            self._stamps.append(np.empty(_BLOCK, np.int64))
            self._values.append(np.empty((_BLOCK, self.width)))
        self._stamps[-1][place], self._values[-1][place] = stamp_ns, row
        self._count += 1

    def series(self) -> Series:
        """All rows, of which none are kept here."""
        count, stamps, values = self._count, self._stamps, self._values
        self._count, self._stamps, self._values = 0, [], []
        if not count:
            return Series(np.empty(0, np.int64), np.empty((0, self.width)))
        return Series(np.concatenate(stamps)[:count], np.concatenate(values)[:count])


def finite(series: Series, key: str, repairs: list[Repair]) -> Series:
    """Without rows that are not finite."""
    wrong = np.asarray(~np.isfinite(series.values).all(axis=1))
    return _without(series, wrong, f"{_PLURALS.get(key, key)} that are not finite: left out", repairs)


def rising(series: Series, key: str, repairs: list[Repair]) -> Series:
    """Without rows that are not later than the latest before."""
    stamps = series.stamps_ns
    latest = np.maximum.accumulate(stamps)
    late = np.concatenate([[False], stamps[1:] <= latest[:-1]])
    return _without(series, late, f"{_PLURALS.get(key, key)} that are not later than the one before: left out", repairs)


def _without(series: Series, wrong: NDArray[np.bool_], what: str, repairs: list[Repair]) -> Series:
    count = int(np.count_nonzero(wrong))
    if not count:
        return series
    repairs.append(Repair(what, count))
    return part(series, ~wrong)


def part(series: Series, chosen: NDArray[np.bool_]) -> Series:
    """The chosen rows."""
    return Series(series.stamps_ns[chosen], series.values[chosen])
