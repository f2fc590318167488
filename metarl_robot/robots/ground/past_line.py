# SPDX-License-Identifier: Apache-2.0
"""The line behind a late vehicle: of a reference that arrives in parts, the parts not driven yet are kept.

References often arrive as a stream of short trajectories that begin at the present time. A vehicle that is late, or has
waited at an obstacle, must still drive the way to the beginning of the newest part.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.signals import Reference, Setpoints

Array = NDArray[np.float64]

CONTINUES_M = 0.01
"""A reference continues another one if their present positions differ by less than this [m]."""
MOST_PARTS = 300
"""Older parts are discarded: at one part per second, those older than five minutes."""


class Parts:
    """References (K) in a row: the k-th applies from joins[k - 1] to joins[k] [s]; joins (K - 1,) increase."""

    def __init__(self, references: list[Reference], joins: list[float]) -> None:
        self.references, self.joins = references, joins

    def sample(self, times: Array) -> Setpoints:
        """Setpoints at times (N,) [s]."""
        part = np.searchsorted(self.joins, times, side="right")
        rows = [np.flatnonzero(part == k) for k in np.unique(part)]
        pieces = [self.references[part[row[0]]].sample(times[row]) for row in rows]
        order = np.argsort(np.concatenate(rows)) if rows else np.zeros(0, int)
        q, v, a = zip(*((piece.q, piece.v, piece.a) for piece in pieces), strict=True)
        return Setpoints(*(np.concatenate(values)[order] for values in (q, v, a)))


def continued(line: Reference, new: Reference, time: float, since_s: float) -> Reference | None:
    """The line until the present time [s], then a new reference; None if that does not continue the line.

    since_s: parts before this time are discarded [s].
    """
    now = np.array([time])
    gap = line.sample(now).q[0, :2] - new.sample(now).q[0, :2]
    if not np.hypot(*gap) < CONTINUES_M:
        return None
    references, joins = (line.references, line.joins) if isinstance(line, Parts) else ([line], [])
    begun = sum(join < time for join in joins)
    references, joins = [*references[: begun + 1], new], [*joins[:begun], time]
    over = max(sum(join <= since_s for join in joins), len(references) - MOST_PARTS)
    return Parts(references[over:], joins[over:]) if over < len(joins) else new
