# SPDX-License-Identifier: Apache-2.0
"""Final limitation of every controller's effort: finite, within limits and within the rate.

The rate is in seconds of the stamps. Between two commands the effort may change by effort_rate_limit times the time
between them, at most one control period. If states come more often than commands are due, each change is smaller.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.robot import Robot

Array = NDArray[np.float64]

_WHOLE = 1.0 - 1e-6  # fraction of a period that counts as a whole one: stamps are rounded


class EffortLimiter:
    """Clips efforts to the robot's effort limits and effort_rate_limit.

    step_s: time interval that the next command may use for its change.
    """

    def __init__(self, robot: Robot) -> None:
        self._lower, self._upper = robot.effort_lower, robot.effort_limit
        self._rate, self._period_s = robot.effort_rate_limit, robot.control_period_s
        self.reset()

    @property
    def last(self) -> Array | None:
        """The last command (n,), or None before the first."""
        return self._last

    def reset(self, effort: Array | None = None) -> None:
        """Discard the last command, or replace it by `effort` (when another controller takes over)."""
        self._last: Array | None = None
        self._bounds: tuple[Array, Array] | None = None
        if effort is None:
            self._time_s: float | None = None  # of the last command, if known
            self._now_s: float | None = None
            self.step_s = self._period_s
        else:
            self._last = np.array(effort, dtype=float)

    def at(self, time: float) -> None:
        """Set the time [s] of the next command.

        Without a call, and for the first command, it is one control period after the last.
        """
        self._now_s = time
        if self._time_s is not None:
            elapsed_s = max(time - self._time_s, 0.0)
            self.step_s = elapsed_s if elapsed_s < _WHOLE * self._period_s else self._period_s
        self._bounds = None

    def bounds(self) -> tuple[Array, Array]:
        """Bounds (lower, upper) (n,) of the next command."""
        if self._bounds is None:
            self._bounds = self._bounds_around(self._last)
        return self._bounds

    def apply(self, effort: Array) -> Array:
        """Return the nearest allowed effort. Non-finite entries take the last command's value."""
        lower, upper = self.bounds()
        finite = effort if all(map(math.isfinite, effort.tolist())) else self._made_finite(effort)
        allowed = np.minimum(np.maximum(finite, lower), upper)
        self._time_s, self._last, self._bounds = self._now_s, allowed, None
        return allowed.copy()

    def _bounds_around(self, last: Array | None) -> tuple[Array, Array]:
        if last is None:
            return self._lower, self._upper
        step = self._rate * self.step_s
        return np.maximum(last - step, self._lower), np.minimum(last + step, self._upper)

    def _made_finite(self, effort: Array) -> Array:
        fallback = np.clip(0.0, self._lower, self._upper) if self._last is None else self._last
        return np.where(np.isfinite(effort), effort, fallback)
