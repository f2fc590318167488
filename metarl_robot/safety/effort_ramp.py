# SPDX-License-Identifier: Apache-2.0
"""Commands at a driver's own rate: between two commands, efforts change by no more than the effort rate allows.

A controller at 200 Hz may change its effort by `effort_rate_limit` times 5 ms from one command to the next. For a
driver at 1 kHz, such a step is five times the rate that it allows (Franka: 1 Nm/ms). In a bridge to such a driver, call
`next` in each of its periods: efforts approach the newest command within the rate, in steps that the driver allows. A
command within one period's change acts at once.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.errors import SignalError
from metarl_robot.core.robot import Robot

Array = NDArray[np.float64]


class EffortRamp:
    """Efforts for a driver's periods.

    Arguments:
        robot: gives `effort_rate_limit`.
        driver_period_s: time between two efforts to the driver [s].
    """

    def __init__(self, robot: Robot, driver_period_s: float) -> None:
        if not 0.0 < driver_period_s <= robot.control_period_s:
            raise SignalError(
                f"driver_period_s is {driver_period_s:g}; must be above 0 and at most the control period, "
                f"{robot.control_period_s:g} s"
            )
        self._step: Array = robot.effort_rate_limit * driver_period_s
        self._sent: Array | None = None

    def restart(self, effort: Array | None = None) -> None:
        """Start from an effort (nu,) that acts now; None: from the next command."""
        self._sent = None if effort is None else np.array(effort, dtype=np.float64)

    def next(self, command: Array) -> Array:
        """Effort (nu,) for the driver's next period, towards a finite command (nu,) within the limits."""
        if self._sent is None:
            self._sent = np.array(command, dtype=np.float64)
        self._sent = self._sent + np.clip(command - self._sent, -self._step, self._step)
        return self._sent
