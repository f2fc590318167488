# SPDX-License-Identifier: Apache-2.0
"""Measures of the commands that reached the plant, taken on the plant's side, independent of the gate.

With u_i the command that the plant received at t_i, L and U the effort limits, r the limit of its rate and T one
control period:

    effort ratio   max |u_i - (U + L) / 2| / ((U - L) / 2)                 1 is at the limit
    rate ratio     max |u_j - u_i| / (r (t_j - t_i + T)) over all i <= j   1 is at the limit

T is the tolerance of the rate: the change that one period allows may come at once, at the period's end. A command of
exact zeros is 'off': limits and rate do not apply to it, and the next command starts from L. An age is the time since
the controller issued the acting command; it is measured while the gate passes commands on, and after the gate has gone.
It is unsafe beyond the gate's `command_timeout_s` and one period (or the last hop's deadline without a gate).
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

    effort_ratio, rate_ratio: see the module's docstring. effort_excess: largest excess over a limit [Nm or N].
    oldest_s: age of the oldest command that acted [s]. late_s: largest excess over the allowed age [s]. not_finite:
    number of commands with a value that is not finite. strangers: number of commands from other senders that acted.
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
        """Whether an unsafe command reached the plant."""
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
        """Record a finite command (nu,) in force from a time on."""
        self._strangers += stranger
        if not np.any(effort) and np.any(self._lower > 0.0):
            self._rate.restart(time_s, self._lower)
        else:
            away = np.abs(effort - self._middle)
            self._effort_ratio = max(self._effort_ratio, float(np.max(away / self._half)))
            self._effort_excess = max(self._effort_excess, float(np.max(away - self._half)))
            self._rate.add(time_s, effort)

    def not_finite(self) -> None:
        """Record a command with a value that is not finite."""
        self._not_finite += 1

    def acts(self, age_s: float, allowed_s: float) -> None:
        """Record the age of an acting controller command and the allowed age."""
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
    """The rate ratio in constant time per command.

    |u_j - u_i| <= r (t_j - t_i + T) for all i <= j, if and only if u_j / r - t_j exceeds the least u_i / r - t_i by no
    more than T, and likewise for -u. The (2 nu,) least values and their times are kept.
    """

    def __init__(self, robot: Robot, tolerance_s: float) -> None:
        self._limit, self._tolerance_s = robot.effort_rate_limit, tolerance_s
        self._least: Array | None = None
        self.ratio = 0.0

    def restart(self, time_s: float, effort: Array) -> None:
        """Forget earlier commands and continue from this effort (nu,)."""
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
