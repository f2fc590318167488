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

from bisect import bisect_right
from typing import NamedTuple, Protocol

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


class CellSource(Protocol):
    """Gives cells while samples come. cell_s: their length [s]."""

    cell_s: float

    def restart(self) -> None:
        """Forget all samples."""
        ...

    def take(self, state: State, effort: Array, dt: float) -> Cell | None:
        """Take in a state and the mean effort (nu,) that acted in the dt before it; a cell that it completes."""
        ...


class Stretch(NamedTuple):
    """Samples (K,) without a gap: time_s, and q, v (K, ·); effort (K, nu) that acted until each."""

    time_s: Array
    q: Array
    v: Array
    effort: Array


class CellTimes:
    """When cells begin, and which samples complete them.

    time_s: of the samples that cells need. begin_s: of the next cell. Both count from the first of these samples.
    step_s, half_s, cell_s: of the grid's step, of half a window, and of a cell.
    """

    def __init__(self, period_s: float) -> None:
        self.step_s = max(STEP_S, period_s)
        self.half_s, self.cell_s = 0.5 * SMOOTHED_STEPS * self.step_s, STEPS * self.step_s
        self.restart()

    def restart(self) -> None:
        """Forget all samples."""
        self.time_s: list[float] = []
        self.begin_s = self.half_s

    def is_gap(self, dt: float) -> bool:
        """Whether cells begin anew with a sample dt after the last one."""
        return bool(self.time_s) and dt > GAP_STEPS * self.step_s

    def take(self, dt: float) -> bool:
        """Take in a sample; whether it completes a cell."""
        now = self.time_s[-1] + dt if self.time_s else 0.0
        self.time_s.append(now)
        return now >= self.begin_s + self.cell_s + self.half_s

    def next_cell(self) -> int:
        """Go on to the next cell. Returns the number of first samples that no later cell needs: they are forgotten."""
        self.begin_s += self.cell_s
        first = max(0, bisect_right(self.time_s, self.begin_s - self.half_s) - 1)
        zero = self.time_s[first]
        self.time_s = [time - zero for time in self.time_s[first:]]
        self.begin_s -= zero
        return first


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
        self._times = CellTimes(period_s)
        self.cell_s = self._times.cell_s
        self.restart()

    def restart(self) -> None:
        """Forget all samples."""
        self._times.restart()
        self._q: list[Array] = []
        self._v: list[Array] = []
        self._effort: list[Array] = []  # that acted until the sample

    def take(self, state: State, effort: Array, dt: float) -> Cell | None:
        """Take in a state and the mean effort (nu,) that acted in the dt before it; a cell that it completes."""
        if self._times.is_gap(dt):
            self.restart()
        self._q.append(state.q.copy())
        self._v.append(state.v.copy())
        self._effort.append(effort.copy())
        if not self._times.take(dt):
            return None
        made = self._cell()
        first = self._times.next_cell()
        self._q, self._v, self._effort = self._q[first:], self._v[first:], self._effort[first:]
        return made

    def _cell(self) -> Cell:
        times = self._times
        samples = Stretch(np.array(times.time_s), np.array(self._q), np.array(self._v), np.array(self._effort))
        return cells_at(self._dynamics, self._features, samples, np.array([times.begin_s]), times, self._attitude)[0]


def cells_at(
    dynamics: EuclideanModel,
    features: FeatureMap,
    samples: Stretch,
    begin_s: Array,
    lengths: CellTimes,
    attitude: slice | None = None,
) -> list[Cell]:
    """Cells that begin at these times (C,), at least half a window after the first sample.

    The samples reach half a window beyond the last cell. lengths: of steps, windows and cells. attitude: place of the
    quaternion in q; None: q is a vector.
    """
    count, step_s, half_s = len(begin_s), lengths.step_s, lengths.half_s
    grid = (begin_s[:, None] + step_s * np.arange(STEPS + 1, dtype=np.float64)).reshape(-1)
    q, v = _states(samples, grid, half_s, attitude)
    efforts = _efforts(samples.time_s, samples.effort, grid, half_s)
    acting = _middle(efforts.reshape(count, STEPS + 1, -1)).reshape(-1, efforts.shape[1])
    _, momentum, beta = (each.reshape(count, STEPS + 1, -1) for each in dynamics.momenta(q, v))
    q, v = q.reshape(count, STEPS + 1, -1), v.reshape(count, STEPS + 1, -1)
    n = v.shape[2]
    mid_q, mid_v, slope = _middle(q), _middle(v), np.diff(v, axis=1) / step_s
    flat = (mid_q.reshape(-1, q.shape[2]), mid_v.reshape(-1, n), slope.reshape(-1, n))
    middle = Xi(*flat, acting, np.stack([acting, acting]))
    required = (np.diff(momentum, axis=1) / step_s - _middle(beta)).mean(axis=1)
    impulses = features.impulses(Series(q, v, step_s, middle)).reshape(count, STEPS, n, -1)
    regressor = impulses.sum(axis=1) / lengths.cell_s
    force = required - dynamics.input_forces(middle.q, acting).reshape(count, STEPS, n).mean(axis=1)
    moving = (mid_v > SLOWEST).all(axis=1) | (mid_v < -SLOWEST).all(axis=1)
    moving |= attitude is not None
    parts = zip(regressor, force, required, np.asarray(moving), mid_q[:, STEPS // 2], strict=True)
    return [Cell(*part) for part in parts]


def _states(samples: Stretch, grid: Array, half_s: float, attitude: slice | None) -> tuple[Array, Array]:
    """Positions (N, nq) and velocities (N, n) at the times of the grid (N,)."""
    time_s, q, v, _ = samples
    if attitude is None:
        return window_means(time_s, q, grid, half_s), window_slopes(time_s, q, grid, half_s)
    q = q.copy()
    q[:, attitude] = rotation.continuous(q[:, attitude])
    means = window_means(time_s, q, grid, half_s)
    means[:, attitude] = rotation.normalise(means[:, attitude])
    return means, window_means(time_s, v, grid, half_s)


def _efforts(time_s: Array, effort: Array, grid: Array, half_s: float) -> Array:
    """Means (N, nu) over windows about the times of the grid (N,), of efforts that are constant between samples."""
    impulse = np.cumsum(np.diff(time_s, prepend=time_s[0])[:, None] * effort, axis=0)
    return window_slopes(time_s, impulse, grid, half_s)


def _middle(values: Array) -> Array:
    """Means (C, S, n) of neighbouring steps (C, S + 1, n)."""
    return 0.5 * (values[:, 1:] + values[:, :-1])
