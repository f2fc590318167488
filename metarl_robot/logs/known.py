# SPDX-License-Identifier: Apache-2.0
"""What a recording shows of payload and friction at best, and the delay from an effort to its effect."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.feature_spec import feature_map, inertial_groups, raw_groups
from metarl_robot.adaptation.stream_cells import STEPS
from metarl_robot.core.robot import Robot
from metarl_robot.logs.cells import Cells

Array = NDArray[np.float64]

DELAYS_S = np.arange(-0.02, 0.0505, 0.001)
"""Delays from an effort to its effect that are tried."""
FITTED_S = 60.0
"""Payload, friction and delay are fitted to the first minute."""
LEAST_SHARE = 1e-4
"""Noise of a cell's force is at least this share of the effort limit."""
LEAST_INFORMATION = 1e-6
"""Parameters that a motion does not show have a standard deviation of 1000."""


class Known:
    """Payload and friction as a model of the missing force in the first minute: names, weighted Φ and force."""

    def __init__(self, robot: Robot, dynamics: Any, cells: Cells) -> None:
        groups = [name for name in inertial_groups(robot.kind) if name in raw_groups(robot.kind)]
        features = feature_map(robot, dynamics, groups)
        self.names, self._cells, self._count = features.names, cells, min(len(cells), round(FITTED_S / cells.cell_s))
        used = np.flatnonzero(cells.usable[: self._count])
        self._used, phi, y = used, cells.part(self._count).regressors(features)[used], cells.residual[used]
        self._unit = np.full(robot.dof, 1.0)
        for _ in range(2):  # weights from the residuals
            self._phi = (phi / self._unit[:, None]).reshape(-1, features.size)
            self._gram = self._phi.T @ self._phi + LEAST_INFORMATION * np.eye(features.size)
            z = np.linalg.solve(self._gram, self._phi.T @ (y / self._unit).reshape(-1))
            left = np.sqrt(np.mean((y - phi @ z) ** 2, axis=0)) if len(used) else self._unit
            self._unit = np.maximum(left, LEAST_SHARE * robot.effort_limit)

    @property
    def std(self) -> Array:
        """Standard deviation (k,) of each parameter after this motion, with the noise that the fit leaves."""
        values, axes = np.linalg.eigh(self._gram)
        return np.asarray(np.sqrt((axes**2 / np.maximum(values, LEAST_INFORMATION)).sum(axis=1)))

    def delay_s(self) -> float:
        """Delay with which efforts fit best to the motion, to a fraction of a millisecond."""
        costs = np.array([self._left(delay) for delay in DELAYS_S])
        best = int(np.clip(np.argmin(costs), 1, len(costs) - 2))
        left, here, right = costs[best - 1 : best + 2]
        curvature = left - 2.0 * here + right
        shift = 0.5 * (left - right) / curvature if curvature > 0.0 else 0.0
        return float(DELAYS_S[best] + np.clip(shift, -1.0, 1.0) * (DELAYS_S[1] - DELAYS_S[0]))

    def _left(self, delay_s: float) -> float:
        """Squares that are left where efforts act `delay_s` later."""
        cells, count = self._cells, self._count
        times = cells.time_s[0] + cells.step_s * np.arange(count * STEPS + 1)
        effort = cells.effort[: len(times)]
        later = np.column_stack([np.interp(times - delay_s, times, column) for column in effort.T])
        changed = _cell_means(later - effort, count)
        force = ((cells.residual[:count] - changed)[self._used] / self._unit).reshape(-1)
        moment = self._phi.T @ force
        return float(force @ force - moment @ np.linalg.solve(self._gram, moment))


def _cell_means(values: Array, count: int) -> Array:
    """Means (count, n) of values at the steps' ends."""
    return np.asarray((0.5 * (values[1:] + values[:-1])).reshape(count, STEPS, -1).mean(axis=1))
