# SPDX-License-Identifier: Apache-2.0
"""What reached the plant, measured on the plant's side: nothing here asks the gate.

With u_i the command that the plant received at t_i, L and U the effort limits, r the limit of its
rate and T one control period:

    effort ratio   max |u_i - (U + L) / 2| / ((U - L) / 2)                 1 is at the limit
    rate ratio     max |u_j - u_i| / (r (t_j - t_i + T)) over all i <= j   1 is at the limit

T is the tolerance of the rate: a change by as much as one period allows may come at once, at the
period's end. A command of exact zeros is 'off': limits and rate do not apply to it, and what
follows it starts at L. An age is the time since the controller issued the command that acts; it is
taken while the gate passes commands on, and when it is gone. Beyond the gate's `command_timeout_s`
and one period (or the last hop's deadline, where the gate is gone) it is unsafe.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.robot import Robot

Array = NDArray[np.float64]

TOLERANCE = 1e-6  # of the ratios: rounding


@dataclass(frozen=True)
class Reached:
    """The measures of one run.

    effort_ratio, rate_ratio: see the module's docstring. effort_excess: by how much a limit was
    exceeded at most [Nm or N]. oldest_s: age of the oldest command that acted [s]. late_s: by how
    much it was older than allowed [s]. not_finite: commands with such a value. strangers: commands
    of strangers that acted.
    """

    effort_ratio: float = 0.0
    effort_excess: float = 0.0
    rate_ratio: float = 0.0
    oldest_s: float = 0.0
    late_s: float = 0.0
    not_finite: int = 0
    strangers: int = 0

    @property
    def unsafe(self) -> bool:
        """Whether something reached the plant that must not."""
        beyond = max(self.effort_ratio, self.rate_ratio) > 1.0 + TOLERANCE
        return beyond or self.late_s > 0.0 or self.not_finite + self.strangers > 0


class Witness:
    """Sees every command that the plant receives, in order.

    tolerance_s: of the rate, T in the module's docstring; None: one control period.
    """

    def __init__(self, robot: Robot, tolerance_s: float | None = None) -> None:
        self._middle = 0.5 * (robot.effort_limit + robot.effort_lower)
        self._half = 0.5 * (robot.effort_limit - robot.effort_lower)
        self._rate = _RateMeter(robot, tolerance_s or robot.control_period_s)
        self._lower = robot.effort_lower
        self._effort_ratio = self._effort_excess = self._oldest_s = self._late_s = 0.0
        self._not_finite = self._strangers = 0

    def received(self, time_s: float, effort: Array, stranger: bool = False) -> None:
        """A command (nu,) was in force from then on; finite."""
        self._strangers += stranger
        if not np.any(effort) and np.any(self._lower > 0.0):
            self._rate.restart(time_s, self._lower)
        else:
            away = np.abs(effort - self._middle)
            self._effort_ratio = max(self._effort_ratio, float(np.max(away / self._half)))
            self._effort_excess = max(self._effort_excess, float(np.max(away - self._half)))
            self._rate.add(time_s, effort)

    def not_finite(self) -> None:
        """The plant received a command with a value that is not finite."""
        self._not_finite += 1

    def acts(self, age_s: float, allowed_s: float) -> None:
        """A controller's command of this age acts, where `allowed_s` is allowed."""
        self._oldest_s = max(self._oldest_s, age_s)
        self._late_s = max(self._late_s, age_s - allowed_s)

    @property
    def reached(self) -> Reached:
        """The measures until now."""
        return Reached(
            self._effort_ratio,
            max(self._effort_excess, 0.0),
            self._rate.ratio,
            self._oldest_s,
            max(self._late_s, 0.0),
            self._not_finite,
            self._strangers,
        )


class _RateMeter:
    """The rate ratio in constant time a command.

    |u_j - u_i| <= r (t_j - t_i + T) for all i <= j, if and only if u_j / r - t_j exceeds the least
    u_i / r - t_i by no more than T, and -u likewise: (2 nu,) least values and their times are kept.
    """

    def __init__(self, robot: Robot, tolerance_s: float) -> None:
        self._limit, self._tolerance_s = robot.effort_rate_limit, tolerance_s
        self._least: Array | None = None
        self.ratio = 0.0

    def restart(self, time_s: float, effort: Array) -> None:
        """Forget what came before; go on from this effort (nu,)."""
        scaled = effort / self._limit
        self._least = np.concatenate([scaled, -scaled]) - time_s
        self._since = np.full(len(self._least), time_s)

    def add(self, time_s: float, effort: Array) -> None:
        if self._least is None:
            self.restart(time_s, effort)
            return
        scaled = effort / self._limit
        now = np.concatenate([scaled, -scaled]) - time_s
        gap_s = time_s - self._since
        self.ratio = max(self.ratio, float(np.max((now - self._least + gap_s) / (gap_s + self._tolerance_s))))
        lower = now < self._least
        self._least = np.where(lower, now, self._least)
        self._since = np.where(lower, time_s, self._since)
