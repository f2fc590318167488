# SPDX-License-Identifier: Apache-2.0
"""Finds velocities that a driver does not fill in: all of them exactly zero while positions move.

A robot at rest, or stuck, has zero velocities too, but then its positions stay within MOVED of where they were. A leap
to another place (a simulation that was reset) is no motion. Controllers refuse such states; the gate uses them, because
it can still stop the robot by its positions.
"""

from __future__ import annotations

from collections.abc import Sequence

MOVED = 0.01
"""[rad, m] above the noise and resolution of positions."""
LEAP = 0.05
"""[rad, m] between two states."""
WORDS = "all velocities are zero while positions move: does the driver fill in velocities?"


class MissingVelocity:
    """Judges states one after another."""

    def __init__(self) -> None:
        self._from: Sequence[float] | None = None
        self._last: Sequence[float] = ()

    def found(self, q: Sequence[float], v: Sequence[float]) -> bool:
        """Take the next state; whether its velocities are missing."""
        if any(v):
            self._from = None
            return False
        if self._from is None or _farther(q, self._last, LEAP):
            self._from = q
        self._last = q
        return _farther(q, self._from, MOVED)


def _farther(q: Sequence[float], other: Sequence[float], distance: float) -> bool:
    return any(abs(now - then) > distance for now, then in zip(q, other, strict=True))
