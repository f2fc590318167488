# SPDX-License-Identifier: Apache-2.0
"""The force and torque that the nominal model misses in a flight, as means over the cells of cells.py.

Velocities are window means of those recorded, not changes of position: an autopilot's estimate is smoother than its
positions. Attitudes are window means of quaternions, normalised. Thrusts are those that act.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.stream_cells import SMOOTHED_STEPS, STEP_S, STEPS
from metarl_robot.adaptation.window_means import window_means
from metarl_robot.core import rotation
from metarl_robot.logs.cells import Cells, grid_of, middle, without_gaps
from metarl_robot.logs.recording import Recording

Array = NDArray[np.float64]


def measure_flight(dynamics: Any, recording: Recording) -> Cells:
    """Cut a flight into cells. Δ is (force [N; world], torque [Nm; body]), (C, 6).

    Raises:
        LogError: the recording is shorter than one cell.
    """
    time_s, step_s = recording.time_s, max(STEP_S, recording.period_s)
    half_s = 0.5 * SMOOTHED_STEPS * step_s
    grid = grid_of(recording, step_s, half_s)
    q, v, effort = (window_means(time_s, each, grid, half_s) for each in (recording.q, recording.v, recording.effort))
    q[:, 3:] = rotation.normalise(q[:, 3:])
    _, momentum, beta = dynamics.momenta(q, v)
    force = dynamics.input_forces(q, effort)
    missed = np.diff(momentum, axis=0) / step_s - middle(force) - middle(beta)
    residual = missed.reshape(-1, STEPS, missed.shape[1]).mean(axis=1)
    usable = without_gaps(time_s, grid[::STEPS], half_s, step_s)
    return Cells(grid[::STEPS], q, v, effort, residual, usable, step_s)
