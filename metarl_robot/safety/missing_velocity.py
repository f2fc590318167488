# SPDX-License-Identifier: Apache-2.0
"""Detects velocities that a driver does not fill in: all exactly zero while positions move.

A robot at rest, or stuck, also has zero velocities, but then its positions stay within MOVED. A jump to another place
(a simulation that was reset) does not count as motion. Controllers refuse such states; the gate uses them, because it
can still stop the robot by its positions.
"""

from __future__ import annotations

from collections.abc import Sequence

MOVED = 0.01
"""[rad, m] above the noise and resolution of positions."""
LEAP = 0.05
"""[rad, m] between two states."""
WORDS = "all velocities are zero while positions move: does the driver fill in velocities?"


class MissingVelocity:
    """Checks a sequence of states."""

    def __init__(self) -> None:
        self._from: Sequence[float] | None = None
        self._last: Sequence[float] = ()

    def found(self, q: Sequence[float], v: Sequence[float]) -> bool:
        """Process the next state; returns whether its velocities are missing."""
        if any(v):
            self._from = None
            return False
        if self._from is None or _farther(q, self._last, LEAP):
            self._from = q
        self._last = q
        return _farther(q, self._from, MOVED)


def _farther(q: Sequence[float], other: Sequence[float], distance: float) -> bool:
    return any(abs(now - then) > distance for now, then in zip(q, other, strict=True))
