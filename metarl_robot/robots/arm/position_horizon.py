# SPDX-License-Identifier: Apache-2.0
"""Short trajectories of positions from a controller's plan, for a robot that takes positions and no efforts.

Each plan p(t) gives a horizon c(t), which replaces the one before and ends at rest:

    c(t) = p(t + lead) + o        up to horizon_s from now, then a constant deceleration to rest within brake_s

lead is the lag of the robot's position loop, which then is at p(t) at time t. Plans begin at the measured state, so
that a loop that yields to a load would pull every plan away from the reference. The offset o is the integral of this:
what the last plan predicted for the start of this one, minus where it starts, over offset_s.

A robot that receives nothing more comes to rest at the end of the last horizon and holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.errors import SignalError
from metarl_robot.core.robot import Robot

Array = NDArray[np.float64]

LEAP_S = 0.02
"""Largest distance between the commanded position and a new horizon, in time at the velocity limit."""
OFFSET_S = 0.03
"""Largest offset o, in time at the velocity limit."""
PAUSE_S = 0.2
"""Plans further apart than this do not continue each other."""
SHORTEST_BRAKE_S = 0.02
_WITHIN = 4
"""Points between two knots at which positions are checked."""


class Horizon(NamedTuple):
    """Positions q (K, n) [rad, m] and velocities v (K, n) at increasing times (K,) [s]; cubic between them."""

    times: Array
    q: Array
    v: Array

    def at(self, times: Array) -> Array:
        """Positions (N, n) at times (N,), held before the first point and after the last."""
        last = len(self.times) - 2
        k = np.clip(np.searchsorted(self.times, times, side="right") - 1, 0, last)
        step = (self.times[k + 1] - self.times[k])[:, None]
        s = np.clip((times[:, None] - self.times[k][:, None]) / step, 0.0, 1.0)
        rest, back = 1.0 - s, s - 1.0
        positions = rest**2 * (1.0 + 2.0 * s) * self.q[k] + s**2 * (3.0 - 2.0 * s) * self.q[k + 1]
        return np.asarray(positions + step * (s * rest**2 * self.v[k] + s**2 * back * self.v[k + 1]))


@dataclass(frozen=True)
class HorizonSettings:
    """See the module's docstring; times [s]. offset_s: 0 for no offset."""

    horizon_s: float = 0.15
    brake_s: float = 0.2
    lead_s: float = 0.03
    offset_s: float = 0.15


class PositionHorizons:
    """Makes horizons; see the module's docstring.

    Arguments:
        robot: the arm, with the velocity limits that may be used.
        settings: of the horizons.

    Attributes:
        offset: (n,) o above [rad, m].
    """

    def __init__(self, robot: Robot, settings: HorizonSettings) -> None:
        self._robot, self._settings = robot, settings
        self.reset()

    def reset(self) -> None:
        """Begin afresh: the next horizon continues none."""
        self.offset: Array = np.zeros(self._robot.dof)
        self._plan: Horizon | None = None
        self._sent: Horizon | None = None

    def make(self, now_s: float, plan: Horizon) -> Horizon:
        """The horizon of a plan, which begins at its state.

        Raises:
            SignalError: the plan is not finite or has ended, or the horizon would exceed a limit or leap.
        """
        if not all(np.isfinite(values).all() for values in plan) or len(plan.times) < 2:
            raise SignalError("the plan is not finite, or has less than two points")
        if not np.all(np.diff(plan.times) > 0.0):
            raise SignalError("the plan's times do not increase")
        self._integrate(plan)
        horizon = self._braked(self._cut(now_s, plan))
        self._check(now_s, horizon)
        self._sent = horizon
        return horizon

    def _integrate(self, plan: Horizon) -> None:
        before, self._plan = self._plan, plan
        passed_s = 0.0 if before is None else float(plan.times[0] - before.times[0])
        if before is None or not 0.0 < passed_s <= PAUSE_S or self._settings.offset_s == 0.0:
            return
        missed = before.at(plan.times[:1])[0] - plan.q[0]
        most = OFFSET_S * self._robot.velocity_limit
        self.offset = np.clip(self.offset + min(1.0, passed_s / self._settings.offset_s) * missed, -most, most)

    def _cut(self, now_s: float, plan: Horizon) -> Horizon:
        """The part of a plan from the last point that has passed on, in the robot's time and within its limits."""
        robot, times = self._robot, plan.times - self._settings.lead_s
        if times[0] > now_s or times[-1] < now_s:
            raise SignalError(f"the plan is from {times[0] - now_s:.3f} s to {times[-1] - now_s:.3f} s from now")
        first = int(np.searchsorted(times, now_s, side="right")) - 1
        end = max(int(np.searchsorted(times, now_s + self._settings.horizon_s, side="right")), first + 2)
        q, v = plan.q[first:end] + self.offset, plan.v[first:end]
        within = np.clip(q, robot.position_lower, robot.position_upper)
        return Horizon(times[first:end], within, np.where(within == q, v, 0.0))

    def _braked(self, horizon: Horizon) -> Horizon:
        """With a last point at rest, after a constant deceleration that ends within the position limits."""
        robot, q, v = self._robot, horizon.q[-1], horizon.v[-1]
        room = np.where(v > 0.0, robot.position_upper - q, q - robot.position_lower)
        moving = np.abs(v) > 0.0
        possible_s = 2.0 * room[moving] / np.abs(v[moving])
        brake_s = min([self._settings.brake_s, *possible_s.tolist()])
        if brake_s < SHORTEST_BRAKE_S:
            raise SignalError("the plan ends too near a position limit to come to rest before it")
        return Horizon(
            np.append(horizon.times, horizon.times[-1] + brake_s),
            np.vstack([horizon.q, q + 0.5 * brake_s * v]),
            np.vstack([horizon.v, np.zeros(len(v))]),
        )

    def _check(self, now_s: float, horizon: Horizon) -> None:
        """Raise SignalError for a horizon beyond the limits, or one that leaps."""
        robot = self._robot
        self._refuse("moves at {} (limit: {})", np.abs(horizon.v[1:]).max(axis=0), robot.velocity_limit)
        between = np.interp(
            np.arange((len(horizon.times) - 1) * _WITHIN + 1) / _WITHIN, np.arange(len(horizon.times)), horizon.times
        )
        positions, slack = horizon.at(between), 1e-6 * (robot.position_upper - robot.position_lower)
        for sign, end, limit in (
            (1.0, positions.max(axis=0), robot.position_upper + slack),
            (-1.0, positions.min(axis=0), robot.position_lower - slack),
        ):
            self._refuse("goes to {} (limit: {})", end, limit, sign)
        if self._sent is not None:
            now = np.array([now_s])
            leap = np.abs(horizon.at(now) - self._sent.at(now))[0]
            words = "would leap by {} from where it is commanded (limit: {}): is the robot blocked?"
            self._refuse(words, leap, LEAP_S * robot.velocity_limit)

    def _refuse(self, words: str, values: Array, most: Array, sign: float = 1.0) -> None:
        for name, value, limit in zip(self._robot.channel_names, values, most, strict=True):
            if sign * value > sign * limit:
                raise SignalError(f"joint '{name}' {words.format(f'{value:.4g}', f'{limit:.4g}')}")
