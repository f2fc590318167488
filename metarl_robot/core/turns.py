# SPDX-License-Identifier: Apache-2.0
"""Angles of joints that turn without end: equal up to whole turns, which drivers often leave out.

A driver may give such an angle within (-π, π]. A state then leaps by a turn where the joint passes π. Here it is
unwrapped to the angle nearest to the last one, and a reference is moved by whole turns to where the joint is.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.signals import State

Array = NDArray[np.float64]
TURN = 2.0 * np.pi


class Unwrapped:
    """States with the angles of endless joints continued from state to state; the first are nearest to `near`.

    Arguments:
        near: (nq,) [rad].
        endless: (nq,) which joints turn without end; None: no joint does.
    """

    def __init__(self, near: Array, endless: NDArray[np.bool_] | None) -> None:
        self._last, self._endless = near, endless

    def state(self, measured: State) -> State:
        """A measured state, unwrapped."""
        if self._endless is None or not np.all(np.isfinite(measured.q)):
            return measured
        q = measured.q + np.where(self._endless, TURN * np.round((self._last - measured.q) / TURN), 0.0)
        self._last = q
        return State(q, measured.v, measured.specific_force)


LEAP_WITHIN = 1.0
"""[rad] A leap by a turn is this near to a turn, for the joint moves between two samples."""


def unwrapped(q: Array, turning: NDArray[np.bool_], near: Array) -> tuple[Array, NDArray[np.intp]]:
    """Positions (K, nq) in which the angles of turning joints (nq,) do not leap by a turn.

    The first are nearest to `near` (nq,). Returns also the number (nq,) of leaps that were undone.
    """
    steps = np.diff(q, axis=0)
    turns = np.where(turning & (np.abs(np.abs(steps) - TURN) < LEAP_WITHIN), -np.sign(steps), 0.0)
    first = np.where(turning, np.round((near - q[0]) / TURN), 0.0)
    moved = first + np.concatenate([np.zeros((1, q.shape[1])), np.cumsum(turns, axis=0)])
    return q + TURN * moved, np.count_nonzero(turns, axis=0)


def short_way(
    positions: Array, present: Array, endless: NDArray[np.bool_], lower: Array, upper: Array
) -> tuple[Array, Array]:
    """Positions (K, n) by the short way from a present position (n,): unwrapped, and moved by whole turns.

    A joint whose positions would then leave its limits (n,) stays as it is. Returns also the turns (n,) by which the
    first positions were moved.
    """
    if not np.all(np.isfinite(positions)):
        return positions, np.zeros(len(present))
    moved = np.unwrap(positions, axis=0)
    turns = np.round((present - moved[0]) / TURN)
    moved = moved + TURN * turns
    fits = endless & np.all((lower <= moved) & (moved <= upper), axis=0)
    return np.where(fits, moved, positions), np.where(fits, turns, 0.0)
