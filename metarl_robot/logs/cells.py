# SPDX-License-Identifier: Apache-2.0
"""The generalised force that the nominal model misses in a recording, in momentum form, as means over short cells.

With p = M(q) v and ṗ = B u + β + Δ, the mean of Δ over a cell from t_0 to t_1 is

    (p(t_1) - p(t_0) - ∫ (B u + β) dt) / (t_1 - t_0)

Positions and efforts are means over a window that is centred on each time of a uniform grid, and the velocity is the
change of position over this window. The smoothing is the same on both sides of the balance. Neither measured
velocities, which may lag, nor a second derivative is used. The window looks half its length ahead: this measures a
recording afterwards. adaptation/stream_cells.py does the same online, half a window late.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.features import FeatureMap, Series, Xi
from metarl_robot.adaptation.stream_cells import GAP_STEPS, SLOWEST, SMOOTHED_STEPS, STEP_S, STEPS
from metarl_robot.adaptation.window_means import window_means, window_slopes
from metarl_robot.logs.recording import LogError, Recording

Array = NDArray[np.float64]

_CHUNK_CELLS = 400
MOST_STEPS, STEPS_PER_SAMPLE = 1_000_000, 20
"""Most steps of a recording, and more for each of its samples: gaps must not fill the memory."""


@dataclass(frozen=True, eq=False)
class Cells:
    """C cells of `STEPS` steps each.

    time_s: (C + 1,) their ends. q, v, effort: (C STEPS + 1, n) at the steps' ends. residual: (C, n) mean Δ.
    usable: (C,) whether the recording has no gap there. step_s: [s].
    """

    time_s: Array
    q: Array
    v: Array
    effort: Array
    residual: Array
    usable: NDArray[np.bool_]
    step_s: float

    def __len__(self) -> int:
        return len(self.residual)

    @property
    def cell_s(self) -> float:
        return STEPS * self.step_s

    @property
    def required(self) -> Array:
        """Mean effort (C, n) that the motion needs by the nominal model, of a robot with an effort for each joint."""
        return self.residual + middle(self.effort).reshape(len(self), STEPS, -1).mean(axis=1)

    @property
    def moving(self) -> NDArray[np.bool_]:
        """Whether a joint (C, n) moved one way during the whole cell."""
        v = middle(self.v).reshape(len(self), STEPS, -1)
        return np.asarray((v > SLOWEST).all(axis=1) | (v < -SLOWEST).all(axis=1))

    def part(self, count: int) -> Cells:
        """The first cells."""
        ends = count * STEPS + 1
        steps = self.q[:ends], self.v[:ends], self.effort[:ends]
        return Cells(self.time_s[: count + 1], *steps, self.residual[:count], self.usable[:count], self.step_s)

    def points(self, first: int, last: int) -> Xi:
        """Mid-step points (N, n) of the cells from `first` until before `last`, with mean accelerations."""
        at = slice(first * STEPS, last * STEPS + 1)
        q, v, effort = self.q[at], self.v[at], self.effort[at]
        held = middle(effort)
        return Xi(middle(q), middle(v), np.diff(v, axis=0) / self.step_s, held, np.stack([held, held]))

    def regressors(self, features: FeatureMap) -> Array:
        """Mean Φ (C, n, n_z) over each cell: Δ = Φ z."""
        made = np.empty((len(self), self.residual.shape[1], features.size))
        for first in range(0, len(self), _CHUNK_CELLS):
            last = min(first + _CHUNK_CELLS, len(self))
            at = slice(first * STEPS, last * STEPS + 1)
            series = Series(self.q[None, at], self.v[None, at], self.step_s, self.points(first, last))
            impulses = features.impulses(series).reshape(last - first, STEPS, *made.shape[1:])
            made[first:last] = impulses.sum(axis=1) / self.cell_s
        return made


def measure(dynamics: Any, recording: Recording) -> Cells:
    """Cut a recording into cells.

    dynamics: of a robot with a vector as position (adaptation/euclidean_data.py: EuclideanModel).

    Raises:
        LogError: the recording is shorter than one cell.
    """
    time_s, step_s = recording.time_s, max(STEP_S, recording.period_s)
    half_s = 0.5 * SMOOTHED_STEPS * step_s
    grid = grid_of(recording, step_s, half_s)
    q, effort = (window_means(time_s, each, grid, half_s) for each in (recording.q, recording.effort))
    v = window_slopes(time_s, recording.q, grid, half_s)
    residual = _residual(dynamics, q, v, effort, step_s)
    residual = residual.reshape(-1, STEPS, residual.shape[1]).mean(axis=1)
    return Cells(grid[::STEPS], q, v, effort, residual, without_gaps(time_s, grid[::STEPS], half_s, step_s), step_s)


def grid_of(recording: Recording, step_s: float, half_s: float) -> Array:
    """Ends of the steps of whole cells, with a window of 2 half_s about each. Raises LogError if there is none."""
    count = int((recording.duration_s - 2.0 * half_s) / (STEPS * step_s) + 1e-9)
    if count < 1:
        raise LogError(f"{recording.source}: lasts {recording.duration_s:.3g} s; at least one second is needed")
    if count * STEPS > MOST_STEPS + STEPS_PER_SAMPLE * len(recording.time_s):
        said = f"holds {len(recording.time_s)} samples in {recording.duration_s:.4g} s: nearly all of it is gaps"
        raise LogError(f"{recording.source}: {said}; split the log at them")
    return np.asarray(recording.time_s[0] + half_s + step_s * np.arange(count * STEPS + 1))


def _residual(dynamics: Any, q: Array, v: Array, effort: Array, step_s: float) -> Array:
    """Mean Δ (N, n) of each step."""
    made, count = np.empty((len(v) - 1, v.shape[1])), _CHUNK_CELLS * STEPS
    for first in range(0, len(made), count):
        at = slice(first, first + count + 1)
        _, momentum, beta = dynamics.momenta(q[at], v[at])
        force = dynamics.input_forces(middle(q[at]), middle(effort[at]))
        made[first : first + count] = np.diff(momentum, axis=0) / step_s - force - middle(beta)
    return made


def middle(values: Array) -> Array:
    """Means (N, n) of neighbouring rows (N + 1, n)."""
    return 0.5 * (values[1:] + values[:-1])


def without_gaps(time_s: Array, ends: Array, half_s: float, step_s: float) -> NDArray[np.bool_]:
    """Whether (C,) no time between two samples within reach of a cell with these ends (C + 1,) is a gap."""
    usable, gaps = np.ones(len(ends) - 1, dtype=bool), np.flatnonzero(np.diff(time_s) > GAP_STEPS * step_s)
    for gap in gaps:
        usable[(ends[:-1] - half_s < time_s[gap + 1]) & (ends[1:] + half_s > time_s[gap])] = False
    return usable
