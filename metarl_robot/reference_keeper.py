"""Which reference a robot follows now: new ones are checked, joined to the old one and eased into.

A trajectory that starts at t_s applies from max(now, t_s); before that the old one goes on. Where it does not start at what the
old one says there, the difference fades along a quintic e(t), so that the sum r(t) + e(t) has no jump in position, velocity or
acceleration:

    e(t_j) = r_old(t_j) − r_new(t_j),  ė, ë likewise,      e = ė = ë = 0 at t_j + T

with T the least time (in steps of 1.4, from `EASE_S` and from what takes `EASE_SPEED` of a joint's velocity limit) for which
the sum keeps the limits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metarl_robot.errors import SignalError
from metarl_robot.reference import Hold, Spline, check_reference, from_points
from metarl_robot.robot import Robot
from metarl_robot.signals import Reference, Setpoints

Array = NDArray[np.float64]

EASE_S = 0.2
EASE_SPEED = 0.3
_PEAK = 15.0 / 8.0  # peak velocity of a quintic from rest to rest, over its mean
_EASE_GROWTH, _EASE_ATTEMPTS = 1.4, 10
_SAME = 1e-6  # rad, rad/s, rad/s²: differences below are none


@dataclass(frozen=True, eq=False)
class Eased:
    """A motion, plus a fade until the fade's end; from there on exactly the motion."""

    motion: Reference
    fade: Spline

    def sample(self, times: Array) -> Setpoints:
        """Setpoints at times (N,) [s]."""
        points = self.motion.sample(times)
        early = (np.atleast_1d(np.asarray(times, float)) < self.fade.knots[-1])[:, None]
        if not np.any(early):
            return points
        fade = self.fade.sample(times)
        return Setpoints(*(np.where(early, p + f, p) for p, f in ((points.q, fade.q), (points.v, fade.v), (points.a, fade.a))))


@dataclass(frozen=True, eq=False)
class Joined:
    """`before` until join_s [s], `after` from then on."""

    before: Reference
    after: Reference
    join_s: float

    def sample(self, times: Array) -> Setpoints:
        """Setpoints at times (N,) [s]."""
        times = np.atleast_1d(np.asarray(times, float))
        if np.all(times >= self.join_s):
            return self.after.sample(times)
        late = (times >= self.join_s)[:, None]
        a, b = self.before.sample(times), self.after.sample(times)
        return Setpoints(np.where(late, b.q, a.q), np.where(late, b.v, a.v), np.where(late, b.a, a.a))


class ReferenceKeeper:
    """Holds the current reference of a robot; starts with none.

    current: what to follow. end_s: when its last trajectory ends and stands still, None for a hold.
    """

    def __init__(self, robot: Robot) -> None:
        self._robot = robot
        self._active: Reference | None = None
        self._pending: tuple[float, Reference] | None = None
        self._target: Reference | None = None
        self._fade: Spline | None = None
        self.current: Reference | None = None
        self.end_s: float | None = None

    def hold(self, q: Array) -> None:
        """Stand still at q (n,) [rad]."""
        self.current = self._active = Hold(np.array(q, dtype=float))
        self._pending = self._target = self._fade = self.end_s = None

    def offer(
        self, times: Array, positions: Array, velocities: Array | None, accelerations: Array | None, now_s: float, ease: bool = True
    ) -> None:
        """Follow a trajectory from now on, or from its first point if that is later. An earlier one that has not begun yet is dropped.

        Arguments:
            times: (K,) [s], absolute; positions, velocities, accelerations: (K, n).
            now_s: the present.
            ease: join it to the present reference without a jump.

        Raises:
            SignalError: it is over already, or breaks a limit; the old reference stays.
        """
        new = from_points(times, positions, velocities, accelerations)
        begin_s, end_s = float(new.knots[0]), float(new.knots[-1])
        if end_s < now_s and len(times) > 1:
            raise SignalError(f"reference: it ended at {end_s:.3f} s; it is {now_s:.3f} s now")
        check_reference(self._robot, new, begin_s, end_s - begin_s)
        before = self._in_force(now_s)
        join_s = max(now_s, begin_s)
        fade = None if before is None or not ease else self._fade_into(before, new, join_s)
        after: Reference = new if fade is None else Eased(new, fade)
        self._active, self._pending = before, (join_s, after)
        self._target, self._fade = new, fade
        self.current = after if before is None or join_s <= now_s else Joined(before, after, join_s)
        self.end_s = end_s

    def _in_force(self, now_s: float) -> Reference | None:
        """What is followed at now_s."""
        if self._pending is not None and (self._pending[0] <= now_s or self._active is None):
            return self._pending[1]
        return self._active

    def _fade_into(self, old: Reference, new: Spline, join_s: float) -> Spline | None:
        """What is added to the new reference so that the sum begins as the old one goes on; None where nothing is needed."""
        if self._target is not None and _same(_gaps(self._target, new, join_s)):
            over = self._fade is None or self._fade.knots[-1] <= join_s
            return None if over else self._fade  # the same motion, sent again: a fade on its way goes on
        gaps = _gaps(old, new, join_s)
        if _same(gaps):
            return None
        shortest = max(EASE_S, float(np.max(_PEAK * np.abs(gaps[0]) / (EASE_SPEED * self._robot.velocity_limit))))
        problem: SignalError | None = None
        for attempt in range(_EASE_ATTEMPTS):
            length = shortest * _EASE_GROWTH**attempt
            fade = from_points([join_s, join_s + length], *(np.stack([gap, np.zeros_like(gap)]) for gap in gaps))
            try:
                check_reference(self._robot, Eased(new, fade), join_s, length)
                return fade
            except SignalError as error:
                problem = error
        raise SignalError(f"reference: no way within the limits from the present one to the new one: {problem}")


def _gaps(old: Reference, new: Reference, time_s: float) -> tuple[Array, Array, Array]:
    """Old minus new at a time: position, velocity, acceleration, each (n,)."""
    a, b = old.sample(np.array([time_s])), new.sample(np.array([time_s]))
    return (a.q - b.q)[0], (a.v - b.v)[0], (a.a - b.a)[0]


def _same(gaps: tuple[Array, Array, Array]) -> bool:
    return all(bool(np.all(np.abs(gap) <= _SAME)) for gap in gaps)
