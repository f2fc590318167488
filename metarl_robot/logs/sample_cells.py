# SPDX-License-Identifier: Apache-2.0
"""Cells (adaptation/stream_cells.py) of samples that are known before: many of them are computed at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.euclidean_data import EuclideanModel
from metarl_robot.adaptation.features import FeatureMap
from metarl_robot.adaptation.stream.command_history import command_history
from metarl_robot.adaptation.stream_cells import Cell, CellTimes, Stretch, cells_at
from metarl_robot.core.signals import State
from metarl_robot.logs.samples import Taken

Array = NDArray[np.float64]

BATCH = 200


class _Place(NamedTuple):
    """A cell among K samples: the first and the last one that it needs, and its begin [s] after the first."""

    first: int
    last: int
    begin_s: float


class SampleCells:
    """Gives the cells of these samples at the samples that complete them, in place of StreamCells.

    Arguments:
        features: Φ.
        period_s: usual time between samples.
        attitude: place of the quaternion in q (Robot.attitude); None: q is a vector.
    """

    def __init__(
        self, dynamics: EuclideanModel, features: FeatureMap, samples: Taken, period_s: float, attitude: slice | None
    ) -> None:
        self._dynamics, self._features, self._attitude = dynamics, features, attitude
        self._samples, self._lengths = samples, CellTimes(period_s)
        self.cell_s = self._lengths.cell_s
        self.restart()

    def restart(self) -> None:
        """Begin with the first sample."""
        self._cells, self._k = self._all(), -1
        self._next = next(self._cells, None)

    def take(self, state: State, effort: Array, dt: float) -> Cell | None:
        """The cell that the next sample completes, if any. Arguments as of StreamCells: they are known."""
        self._k += 1
        if self._next is None or self._next[0] > self._k:
            return None
        cell = self._next[1]
        self._next = next(self._cells, None)
        return cell

    def _all(self) -> Iterator[tuple[int, Cell]]:
        """All cells, each with the sample that completes it."""
        places: list[_Place] = []
        for place in self._places():
            if places and (len(places) == BATCH or place.first > places[-1].last):
                yield from self._computed(places)
                places = []
            places.append(place)
        if places:
            yield from self._computed(places)

    def _places(self) -> Iterator[_Place]:
        times, first = self._lengths, 0
        times.restart()
        for k, dt in enumerate(self._samples.dt.tolist()):
            if times.is_gap(dt):
                times.restart()
                first = k
            if times.take(dt):
                yield _Place(first, k, times.begin_s)
                first += times.next_cell()

    def _computed(self, places: Sequence[_Place]) -> Iterator[tuple[int, Cell]]:
        """Cells of samples without a gap."""
        begin, end = places[0].first, places[-1].last + 1
        q, v, effort, dt = (each[begin:end] for each in self._samples[:4])
        time_s = np.concatenate([[0.0], np.cumsum(dt[1:])])
        begins = np.array([time_s[place.first - begin] + place.begin_s for place in places])
        samples = Stretch(time_s, q, v, effort)
        made = cells_at(self._dynamics, self._features, samples, begins, self._lengths, self._attitude)
        return zip((place.last for place in places), made, strict=True)


def acting_efforts(effort: Array, dt: Array, period_s: float, latency_s: float) -> Array:
    """Mean efforts (K, nu) that acted before each sample, where the latency is known; effort, dt: see Taken."""
    history, acting = command_history(effort[0], period_s, latency_s), effort.copy()
    for k in range(1, len(dt)):
        acting[k] = history.acting(effort[k], float(dt[k]))[0]
        history.update(effort[k], float(dt[k]))
    return acting
