# SPDX-License-Identifier: Apache-2.0
"""The momentum balance of a stream of samples, as means over short cells.

With p = M(q) v and ṗ = B u + β + Δ, the mean of Δ over a cell from t_0 to t_1 is

    (p(t_1) - p(t_0) - ∫ (B u + β) dt) / (t_1 - t_0)

Positions and efforts are means over a window that is centred on each time of a uniform grid. The velocity of a robot
with a vector as position is the change of position over this window: measured velocities, which may lag, are not used.
That of a flying robot is the mean of those measured, and its attitude is the normalised mean of quaternions. A cell is
known half a window after its end.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.euclidean_data import EuclideanModel
from metarl_robot.adaptation.features import FeatureMap, Series, Xi
from metarl_robot.adaptation.window_means import window_means, window_slopes
from metarl_robot.core import rotation
from metarl_robot.core.signals import State

Array = NDArray[np.float64]

STEP_S, STEPS, SMOOTHED_STEPS = 0.01, 5, 4
"""Step of the grid (or the samples' period, if that is longer), steps of a cell, and steps of a window."""
GAP_STEPS = 2.5
"""A longer time between two samples is a gap: cells begin anew."""
SLOWEST = 0.03
"""A joint that was slower at any time in a cell may have been at rest [rad/s, m/s]."""


class Cell(NamedTuple):
    """Means over one cell, of n joints and k context entries.

    regressor: (n, k) Φ. force: (n,) Δ. required: (n,) generalised force that the motion needs by the nominal model.
    moving: (n,) whether a joint moved one way during the whole cell; of a flying robot always. q: (nq,) at the middle.
    """

    regressor: Array
    force: Array
    required: Array
    moving: NDArray[np.bool_]
    q: Array = np.zeros(0)


def cell_length_s(period_s: float) -> float:
    """Length of a cell of samples with this usual time between them."""
    return STEPS * max(STEP_S, period_s)


class StreamCells:
    """Cuts samples into cells.

    Arguments:
        features: Φ.
        period_s: usual time between samples.
        attitude: place of the quaternion in q (Robot.attitude); None: q is a vector.
    """

    def __init__(
        self, dynamics: EuclideanModel, features: FeatureMap, period_s: float, attitude: slice | None = None
    ) -> None:
        self._dynamics, self._features, self._attitude = dynamics, features, attitude
        self._step_s = max(STEP_S, period_s)
        self._half_s = 0.5 * SMOOTHED_STEPS * self._step_s
        self.restart()

    @property
    def cell_s(self) -> float:
        """Length of a cell [s]."""
        return STEPS * self._step_s

    def restart(self) -> None:
        """Forget all samples."""
        self._time_s: list[float] = []
        self._q: list[Array] = []
        self._v: list[Array] = []
        self._effort: list[Array] = []  # that acted until the sample
        self._begin_s = 0.0

    def take(self, state: State, effort: Array, dt: float) -> Cell | None:
        """Take in a state and the mean effort (nu,) that acted in the dt before it; a cell that it completes."""
        if self._time_s and dt > GAP_STEPS * self._step_s:
            self.restart()
        now = self._time_s[-1] + dt if self._time_s else 0.0
        if not self._time_s:
            self._begin_s = self._half_s
        self._time_s.append(now)
        self._q.append(state.q.copy())
        self._v.append(state.v.copy())
        self._effort.append(effort.copy())
        if now < self._begin_s + self.cell_s + self._half_s:
            return None
        made = self._cell()
        self._begin_s += self.cell_s
        self._drop(self._begin_s - self._half_s)
        return made

    def _drop(self, until_s: float) -> None:
        """Forget the samples that no later cell needs; times begin at zero again."""
        first = max(0, int(np.searchsorted(self._time_s, until_s, side="right")) - 1)
        zero = self._time_s[first]
        self._time_s = [time - zero for time in self._time_s[first:]]
        self._q, self._v, self._effort = self._q[first:], self._v[first:], self._effort[first:]
        self._begin_s -= zero

    def _cell(self) -> Cell:
        grid = self._begin_s + self._step_s * np.arange(STEPS + 1, dtype=np.float64)
        time_s = np.array(self._time_s)
        (q, v), effort = self._states(time_s, grid), self._efforts(time_s, grid)
        _, momentum, beta = self._dynamics.momenta(q, v)
        middle = Xi(_middle(q), _middle(v), np.diff(v, axis=0) / self._step_s, effort, np.stack([effort, effort]))
        required = (np.diff(momentum, axis=0) / self._step_s - _middle(beta)).mean(axis=0)
        impulses = self._features.impulses(Series(q[None], v[None], self._step_s, middle))
        force = required - self._dynamics.input_forces(middle.q, effort).mean(axis=0)
        moving = (middle.v > SLOWEST).all(axis=0) | (middle.v < -SLOWEST).all(axis=0)
        moving |= self._attitude is not None
        return Cell(impulses.sum(axis=0) / self.cell_s, force, required, np.asarray(moving), middle.q[STEPS // 2])

    def _states(self, time_s: Array, grid: Array) -> tuple[Array, Array]:
        """Positions (STEPS + 1, nq) and velocities (STEPS + 1, n) at the steps' ends."""
        positions, half_s = np.array(self._q), self._half_s
        if self._attitude is None:
            return window_means(time_s, positions, grid, half_s), window_slopes(time_s, positions, grid, half_s)
        positions[:, self._attitude] = rotation.continuous(positions[:, self._attitude])
        q = window_means(time_s, positions, grid, half_s)
        q[:, self._attitude] = rotation.normalise(q[:, self._attitude])
        return q, window_means(time_s, np.array(self._v), grid, half_s)

    def _efforts(self, time_s: Array, grid: Array) -> Array:
        """Means (STEPS, n) over the smoothed steps of efforts that are constant between samples."""
        steps = np.diff(time_s, prepend=time_s[0])[:, None]
        impulse = np.cumsum(steps * np.array(self._effort), axis=0)
        return _middle(window_slopes(time_s, impulse, grid, self._half_s))


def _middle(values: Array) -> Array:
    return 0.5 * (values[1:] + values[:-1])
