# SPDX-License-Identifier: Apache-2.0
"""The part of a reference near a vehicle: a path is followed from its nearest point, not by its times.

A late vehicle then does not cut corners to catch up. While the reference waits, all its points are equally near, and
the one closest to the present time is used. Points beyond such a stop are used only after the reference has left it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.signals import Reference, Setpoints
from metarl_robot.robots.ground.past_line import continued

Array = NDArray[np.float64]

SPACING_S = 0.02
_TINY = 1e-12
FIRST_REACH_S = 2.0
"""A new reference is searched this far before and after the present time [s]."""
BACK_S, AHEAD_S = 0.5, 1.0
"""Later it is searched from BACK_S before to AHEAD_S after the last point found [s]."""
STANDING_M_S = 0.02
"""A reference below this speed counts as waiting."""
LAG_SCALE_M_S = 0.01
"""An extra distance of this many metres weighs as much as an extra second from the present time."""


class Nearby(NamedTuple):
    """Setpoints of a reference, starting at the sample nearest to the vehicle, and its time [s].

    point: (1, …) the nearest point between the samples.
    """

    reference: Reference
    points: Setpoints
    time_s: float
    point: Setpoints

    @property
    def speed_m_s(self) -> float:
        """Wanted speed at the nearest point."""
        return float(np.hypot(*self.points.v[0, :2]))

    @property
    def reverses(self) -> bool:
        """Whether the nearest point moves backwards."""
        yaw, (x, y) = self.points.q[0, 2], self.points.v[0, :2]
        return bool(np.cos(yaw) * x + np.sin(yaw) * y < -max(STANDING_M_S, 0.5 * self.speed_m_s))

    @property
    def acceleration_m_s2(self) -> float:
        """Wanted acceleration along the path at the nearest point."""
        yaw = self.points.q[0, 2]
        return float(np.cos(yaw) * self.points.a[0, 0] + np.sin(yaw) * self.points.a[0, 1])


def _reached(v: Array, times: Array, time: float) -> NDArray[np.bool_]:
    """Whether each point is not beyond a place where the reference waits now or later."""
    waits = (np.hypot(v[:, 0], v[:, 1]) < STANDING_M_S) & (times >= time)
    return times <= times[int(np.argmax(waits))] if waits.any() else np.ones(len(times), bool)


def _closest(points: Setpoints, k: int, position: Array) -> Setpoints:
    """The point (1, …) closest to a position (2,), on the lines from the k-th setpoint to its neighbours."""
    starts = np.array([max(k - 1, 0), min(k, len(points.q) - 2)])
    begin = points.q[starts, :2]
    step = points.q[starts + 1, :2] - begin
    share = np.clip(np.sum((position - begin) * step, axis=1) / (np.sum(step**2, axis=1) + _TINY), 0.0, 1.0)
    best = int(np.argmin(np.square(begin + share[:, None] * step - position).sum(axis=1)))
    j, part = starts[best], share[best]
    q, v, a = (rows[j : j + 1] + part * (rows[j + 1] - rows[j]) for rows in (points.q, points.v, points.a))
    return Setpoints(q, v, a)


class Progress:
    """Follows the nearest point of a reference.

    keeps_past: whether a reference that continues the last one keeps the earlier parts; see past_line.py.
    """

    def __init__(self, keeps_past: bool = False) -> None:
        self._keeps_past = keeps_past
        self.reset()

    def reset(self) -> None:
        """Forget the last point."""
        self._reference: Reference | None = None
        self._line: Reference | None = None
        self._found_s = 0.0

    def nearest(self, reference: Reference, time: float, position: Array, ahead_s: float = AHEAD_S) -> Nearby | None:
        """The reference from the point nearest to a position (2,), for at least ahead_s; None if not finite."""
        line, known = self._followed(reference, time)
        begin, end = (
            (self._found_s - BACK_S, self._found_s + AHEAD_S) if known else (time - FIRST_REACH_S, time + FIRST_REACH_S)
        )
        times = np.arange(begin, end + ahead_s, SPACING_S)
        points = line.sample(times)
        if not all(np.isfinite(values).all() for values in (points.q, points.v, points.a)):
            return None
        tested = int((end - begin) / SPACING_S)
        away = np.square(points.q[:tested, :2] - position).sum(axis=1)
        lag = np.square(LAG_SCALE_M_S * (times[:tested] - time))
        nearest = int(np.argmin(np.where(_reached(points.v[:tested], times[:tested], time), away + lag, np.inf)))
        self._reference, self._line, self._found_s = reference, line, float(times[nearest])
        later, point = slice(nearest, None), _closest(points, nearest, position)
        return Nearby(line, Setpoints(points.q[later], points.v[later], points.a[later]), self._found_s, point)

    def _followed(self, reference: Reference, time: float) -> tuple[Reference, bool]:
        """The line to follow, and whether it contains the last point found."""
        if self._line is not None and reference is self._reference:
            return self._line, True
        if self._line is not None and self._keeps_past:
            line = continued(self._line, reference, time, self._found_s - BACK_S)
            if line is not None:
                return line, True
        return reference, False
