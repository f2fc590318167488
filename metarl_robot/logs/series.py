# SPDX-License-Identifier: Apache-2.0
"""A signal as a log holds it, before joints and units are those of the robot.

Rows grow while a file is read; broken ones are left out and counted.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from metarl_robot.logs.recording import Repair

Array = NDArray[np.float64]
Stamps = NDArray[np.int64]

MOST_SAMPLES = 4_000_000
"""More samples of a log are not read: more than an hour at 1 kHz, at most 0.7 GB for seven joints."""
_BLOCK = 4096
_FAR_NS = 3600 * 1_000_000_000
"""Rows that are farther apart are parts of different recordings."""
_AROUND = 20
"""Rows before and after a step back that tell a clock that was set from a wrong stamp."""
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
        place = self._place()
        self._stamps[-1][place], self._values[-1][place] = stamp_ns, row
        self._count += 1

    def extend(self, stamps_ns: Stamps, rows: Array) -> None:
        """Append K rows: stamps (K,), values (K, width)."""
        done = 0
        while done < len(stamps_ns):
            place = self._place()
            chosen = slice(done, done + _BLOCK - place)
            taken = len(stamps_ns[chosen])
            self._stamps[-1][place : place + taken] = stamps_ns[chosen]
            self._values[-1][place : place + taken] = rows[chosen]
            self._count, done = self._count + taken, done + taken

    def _place(self) -> int:
        """Place of the next row within the last block."""
        place = self._count % _BLOCK
        if place == 0:
            self._stamps.append(np.empty(_BLOCK, np.int64))
            self._values.append(np.empty((_BLOCK, self.width)))
        return place

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
    """Without rows out of order: one wrong stamp costs its own row, and of a log whose clock was set the longest part
    is kept.
    """
    stamps, plural = series.stamps_ns, _PLURALS.get(key, key)
    if len(stamps) < 2 or bool(((steps := np.diff(stamps)) > 0).all() and (steps < _FAR_NS).all()):
        return series
    ordered, parts = np.zeros(len(stamps), dtype=bool), []
    ends = [0, *_set_back(stamps), len(stamps)]
    for begin, end in pairwise(ends):
        rows = begin + _in_order(stamps[begin:end])
        ordered[rows] = True
        parts += np.split(rows, np.flatnonzero(np.diff(stamps[rows]) >= _FAR_NS) + 1)
    kept = np.zeros(len(stamps), dtype=bool)
    kept[max(parts, key=len)] = True
    late = int(np.count_nonzero(~ordered))
    if late:
        repairs.append(Repair(f"{plural} that are not later than the one before: left out", late))
    others = int(np.count_nonzero(ordered & ~kept))
    if others:
        repairs.append(Repair(f"{plural} that are of other stretches of time (the clock was set): left out", others))
    return part(series, kept)


def _set_back(stamps: Stamps) -> list[int]:
    """Rows from which on the clock was set back, not for a single row."""
    around = ((k, stamps[max(k - _AROUND, 0) : k], stamps[k : k + _AROUND]) for k in _backward(stamps))
    return [k for k, before, after in around if np.median(after) < np.median(before)]


def _backward(stamps: Stamps) -> list[int]:
    return [int(k) + 1 for k in np.flatnonzero(np.diff(stamps) < 0)]


def _in_order(stamps: Stamps) -> NDArray[np.intp]:
    """Rows of the longest rising sequence; of equal stamps the first counts."""
    latest = np.concatenate([[np.iinfo(np.int64).min], np.maximum.accumulate(stamps)[:-1]])
    next_least = np.concatenate([np.minimum.accumulate(stamps[::-1])[::-1][1:], [np.iinfo(np.int64).max]])
    certain = np.flatnonzero((stamps > latest) & (stamps < next_least))  # in every longest sequence
    rows, begin = [], 0
    for end in (*certain, len(stamps)):
        if end > begin:
            rows += [begin + k for k in _longest_rising(stamps[begin:end].tolist())]
        if end < len(stamps):
            rows.append(int(end))
        begin = int(end) + 1
    return np.array(rows, dtype=np.intp)


def _longest_rising(stamps: list[int]) -> list[int]:
    """Places of the longest rising sequence (patience sorting)."""
    least, last, before = list[int](), list[int](), list[int]()
    for k, stamp in enumerate(stamps):
        length = bisect_left(least, stamp)
        before.append(last[length - 1] if length else -1)
        if length < len(least) and least[length] == stamp:
            continue
        least[length : length + 1], last[length : length + 1] = [stamp], [k]
    found, place = list[int](), last[-1] if last else -1
    while place >= 0:
        found.append(place)
        place = before[place]
    return found[::-1]


def _without(series: Series, wrong: NDArray[np.bool_], what: str, repairs: list[Repair]) -> Series:
    count = int(np.count_nonzero(wrong))
    if not count:
        return series
    repairs.append(Repair(what, count))
    return part(series, ~wrong)


def part(series: Series, chosen: NDArray[np.bool_]) -> Series:
    """The chosen rows."""
    return Series(series.stamps_ns[chosen], series.values[chosen])
