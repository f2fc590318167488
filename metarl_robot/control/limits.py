"""The last thing every controller does: an effort that is finite, within the limits and within the rate."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from metarl_robot.robot import Robot

Array = NDArray[np.float64]


class EffortLimiter:
    """Clips to the robot's effort limits and to its effort_rate_limit from one command to the next."""

    def __init__(self, robot: Robot) -> None:
        self._lower, self._upper = robot.effort_lower, robot.effort_limit
        self._step = robot.effort_rate_limit * robot.control_period_s
        self.reset()

    @property
    def last(self) -> Array | None:
        """The last command (n,), or None before the first."""
        return self._last

    def reset(self, effort: Array | None = None) -> None:
        """Forget the last command, or take `effort` for it (a controller that takes over from another)."""
        self._last: Array | None = None
        self._bounds = self._lower, self._upper
        if effort is not None:
            self._remember(np.array(effort, dtype=float))

    def bounds(self) -> tuple[Array, Array]:
        """(lower, upper) (n,) that the next command must keep to."""
        return self._bounds

    def apply(self, effort: Array) -> Array:
        """The nearest allowed effort. Non-finite entries take the last command's value."""
        lower, upper = self._bounds
        finite = effort if all(map(math.isfinite, effort.tolist())) else self._made_finite(effort)
        allowed = np.minimum(np.maximum(finite, lower), upper)
        self._remember(allowed)
        return allowed.copy()

    def _remember(self, effort: Array) -> None:
        self._last = effort
        self._bounds = np.maximum(effort - self._step, self._lower), np.minimum(effort + self._step, self._upper)

    def _made_finite(self, effort: Array) -> Array:
        fallback = np.clip(0.0, self._lower, self._upper) if self._last is None else self._last
        return np.where(np.isfinite(effort), effort, fallback)
