"""Which reference a robot follows now: new ones are checked, joined to the old one and eased into.

A trajectory that starts at t_s applies from max(now, t_s); before that the old one goes on. Where it does not start at what the
old one says there, the difference fades, so that the sum r(t) + e(t) has no jump in position, velocity or acceleration:

    e(t_j) = r_old(t_j) − r_new(t_j),  ė, ë likewise,      e = ė = ë = 0 at t_j + T

with T the least time (in steps of 1.4) for which the sum keeps the limits. What fades, and along which polynomial, is the robot's
course (course.py): the joints of an arm, position and heading of a quadrotor.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metarl_robot.course import Outputs, course_of
from metarl_robot.errors import SignalError
from metarl_robot.robot import Robot
from metarl_robot.signals import Reference, Setpoints

Array = NDArray[np.float64]

_EASE_GROWTH, _EASE_ATTEMPTS = 1.4, 10
_SAME = 1e-6  # rad, m and their rates: differences below are none


@dataclass(frozen=True, eq=False)
class _Fade:
    """What is added to a reference from start_s for duration_s: gaps (D, m), see Course."""

    gaps: Array
    start_s: float
    duration_s: float

    @property
    def end_s(self) -> float:
        return self.start_s + self.duration_s


@dataclass(frozen=True, eq=False)
class Joined:
    """`before` until join_s [s], `after` from then on."""

    before: Reference
    after: Reference
    join_s: float

    def sample(self, times: Array) -> Setpoints:
        """Setpoints at times (N,) [s]."""
        late = (times >= self.join_s)[:, None]
        if late.all():
            return self.after.sample(times)
        if not late.any():
            return self.before.sample(times)
        a, b = self.before.sample(times), self.after.sample(times)
        return Setpoints(np.where(late, b.q, a.q), np.where(late, b.v, a.v), np.where(late, b.a, a.a))


class ReferenceKeeper:
    """Holds the current reference of a robot; starts with none.

    current: what to follow. end_s: when its last trajectory ends and stands still, None for a hold.
    """

    def __init__(self, robot: Robot) -> None:
        self._course = course_of(robot)
        self._active: Reference | None = None
        self._pending: tuple[float, Reference] | None = None
        self._target: Reference | None = None
        self._fade: _Fade | None = None
        self.current: Reference | None = None
        self.end_s: float | None = None

    def hold(self, q: Array) -> None:
        """Stand still at q (nq,)."""
        self.current = self._active = self._course.hold(q)
        self._pending = self._target = self._fade = self.end_s = None

    def offer(self, times: Array, points: Outputs, now_s: float, ease: bool = True) -> None:
        """Follow a trajectory from now on, or from its first point if that is later. An earlier one that has not begun yet is dropped.

        Arguments:
            times: (K,) [s], absolute; points: the robot's outputs there.
            now_s: the present.
            ease: join it to the present reference without a jump.

        Raises:
            SignalError: it is over already, or breaks a limit; the old reference stays.
        """
        new = self._course.through(times, points)
        begin_s, end_s = float(times[0]), float(times[-1])
        if end_s < now_s and len(times) > 1:
            raise SignalError(f"reference: it ended at {end_s:.3f} s; it is {now_s:.3f} s now")
        self._course.check(new, begin_s, end_s - begin_s)
        before = self._in_force(now_s)
        join_s = max(now_s, begin_s)
        fade = None if before is None or not ease else self._fade_into(before, new, join_s)
        after = new if fade is None else self._course.eased(new, fade.gaps, fade.start_s, fade.duration_s)
        self._active, self._pending = before, (join_s, after)
        self._target, self._fade = new, fade
        self.current = after if before is None or join_s <= now_s else Joined(before, after, join_s)
        self.end_s = end_s

    def _in_force(self, now_s: float) -> Reference | None:
        """What is followed at now_s."""
        if self._pending is not None and (self._pending[0] <= now_s or self._active is None):
            return self._pending[1]
        return self._active

    def _fade_into(self, old: Reference, new: Reference, join_s: float) -> _Fade | None:
        """What is added to the new reference so that the sum begins as the old one goes on; None where nothing is needed."""
        course = self._course
        if self._target is not None and _same(course.gaps(self._target, new, join_s)):
            over = self._fade is None or self._fade.end_s <= join_s
            return None if over else self._fade  # the same motion, sent again: a fade on its way goes on
        gaps = course.gaps(old, new, join_s)
        if _same(gaps):
            return None
        shortest = course.shortest_s(gaps)
        problem: SignalError | None = None
        for attempt in range(_EASE_ATTEMPTS):
            fade = _Fade(gaps, join_s, shortest * _EASE_GROWTH**attempt)
            try:
                course.check(course.eased(new, gaps, join_s, fade.duration_s), join_s, fade.duration_s)
                return fade
            except SignalError as error:
                problem = error
        raise SignalError(f"reference: no way within the limits from the present one to the new one: {problem}")


def _same(gaps: Array) -> bool:
    """Whether position, velocity and acceleration agree."""
    return bool(np.all(np.abs(gaps[:3]) <= _SAME))
