# SPDX-License-Identifier: Apache-2.0
"""Reference manager: checks new references, joins them to the present one and eases into them.

A trajectory that starts at t_s applies from t_j = max(now, t_s); until then the old one applies. If the two differ at
t_j, the difference fades out, so that the sum r(t) + e(t) has no jump in position, velocity or acceleration:

    e(t_j) = r_old(t_j) − r_new(t_j),  ė, ë likewise,      e = ė = ë = 0 at t_j + T

T is the shortest time (in steps of a factor 1.4) for which the sum keeps the limits. The robot's flat outputs define
the fading quantities and the polynomial (flat_outputs.py): the joints of an arm, position and heading of a quadrotor.

`offer` accepts some imperfect trajectories and reports it in its result:

- A trajectory that ended up to two control periods ago is late: its end is held.
- A trajectory that starts before its first point begins at the present reference, as those of
  joint_trajectory_controller do. If that is too fast, the robot stays until the first point's time, then moves there.
- A trajectory that slightly exceeds a limit, as between the points of a plan at 100 % of the speed limit, is slowed
  until it keeps the limit.
- A missing joint (NaN) stays where the present reference has it.
- A joint outside its position limits may come back.
- A joint that turns without end goes the short way (core/turns.py).

A trajectory may carry constraints. They apply, also while the robot brakes and holds, until the next trajectory begins.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.errors import SignalError
from metarl_robot.core.robot import Robot
from metarl_robot.core.signals import Constraint, Reference, Setpoints, State, constraints_of
from metarl_robot.core.turns import short_way
from metarl_robot.trajectories.constrained import constrained
from metarl_robot.trajectories.flat_outputs import Outputs, flat_outputs_of

Array = NDArray[np.float64]

_EASE_GROWTH, _EASE_ATTEMPTS = 1.4, 10
LATE_PERIODS = 2
SLOWER = (1.001, 1.002, 1.005, 1.01, 1.02, 1.03)
"""Factors by which a trajectory that slightly exceeds a limit is stretched in time."""
_SAME = 1e-6  # smaller differences are ignored: rad, m and their rates


@dataclass(frozen=True, eq=False)
class _Fade:
    """Fade added to a reference from start_s for duration_s: gaps (D, m), see FlatOutputs."""

    gaps: Array
    start_s: float
    duration_s: float

    @property
    def end_s(self) -> float:
        return self.start_s + self.duration_s


@dataclass(frozen=True, eq=False)
class Joined:
    """Reference `before` until join_s [s], then `after`."""

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


class _Motion(NamedTuple):
    """A trajectory from begin_s to end_s [s], slowed by a factor."""

    reference: Reference
    begin_s: float
    end_s: float
    slower: float


class Taken(NamedTuple):
    """An accepted trajectory: its start and end [s], and remarks on changes made to it."""

    begins_s: float
    ends_s: float
    remarks: tuple[str, ...]


class ReferenceManager:
    """Holds the current reference of a robot; there is none at the start.

    current: the reference to follow. end_s: time at which the last trajectory ends and stands still; None for a hold.
    """

    def __init__(self, robot: Robot) -> None:
        self._robot = robot
        self._flat, self._period_s = flat_outputs_of(robot), robot.control_period_s
        self._active: Reference | None = None
        self._pending: tuple[float, Reference] | None = None
        self._target: Reference | None = None
        self._fade: _Fade | None = None
        self.current: Reference | None = None
        self.end_s: float | None = None

    def hold(self, q: Array) -> None:
        """Hold the position q (nq,)."""
        self._begin(self._flat.hold(q))

    def brake(self, state: State, now_s: float) -> None:
        """Brake from a state to rest; a robot at rest holds its position."""
        self._begin(self._flat.brake(state, now_s))

    def _begin(self, reference: Reference) -> None:
        self._active = reference
        self.current = constrained(reference, self._constraints())
        self._pending = self._target = self._fade = self.end_s = None

    def _constraints(self) -> tuple[Constraint, ...]:
        return () if self.current is None else constraints_of(self.current)

    def offer(
        self,
        times: Array,
        points: Outputs,
        now_s: float,
        ease: bool = True,
        constraints: tuple[Constraint, ...] = (),
        starts_s: float | None = None,
    ) -> Taken:
        """Follow a trajectory from now on, or from its start if that is later.

        A trajectory that was accepted before and has not begun is discarded.

        Arguments:
            times: (K,) absolute [s].
            points: the robot's outputs there. Columns of NaN positions are held.
            now_s: the present time.
            ease: join the trajectory to the present reference without a jump.
            constraints: of the trajectory; until it begins, those of the present reference apply, too.
            starts_s: time at which the motion to the first point starts; None: there is no such motion.

        Returns:
            Its start and its end, at which the robot has joined it, and the changes made.

        Raises:
            SignalError: it has ended already, or violates a limit; the old reference stays.
        """
        before = self._in_force(now_s)
        late_s = now_s - float(times[-1])
        if late_s > LATE_PERIODS * self._period_s and len(times) > 1:
            raise SignalError(f"reference: it ended at {times[-1]:.3f} s; it is {now_s:.3f} s now")
        points = self._completed(points, before, now_s)
        points, turned = self._by_short_way(points, before, now_s)
        motion, delayed = self._motion(times, points, before, max(now_s, times[0] if starts_s is None else starts_s))
        new, join_s, until_s = motion.reference, max(now_s, motion.begin_s), self._braking_s(motion)
        fade = None if before is None or not ease else self._fade_into(before, new, join_s, until_s)
        after = new if fade is None else self._flat.eased(new, fade.gaps, fade.start_s, fade.duration_s)
        self._active, self._pending = before, (join_s, after)
        self._target, self._fade = new, fade
        current = after if before is None or join_s <= now_s else Joined(before, after, join_s)
        self.current = constrained(current, (*(() if current is after else self._constraints()), *constraints))
        self.end_s = motion.end_s if fade is None else max(motion.end_s, min(fade.end_s, until_s))
        return Taken(motion.begin_s, self.end_s, (*turned, *delayed, *_remarks(points, motion.slower, late_s)))

    def _completed(self, points: Outputs, before: Reference | None, now_s: float) -> Outputs:
        """Fill missing outputs (columns of NaN): at rest at the present reference's position."""
        missing = np.isnan(points.positions).all(axis=0)
        if not missing.any() or missing.all():
            return points
        if before is None:
            raise SignalError("reference: it lacks joints, and their present positions, to be held, are not known yet")
        held = self._flat.outputs(before, np.array([now_s])).positions[0]
        rates = (None if x is None else np.where(missing, 0.0, x) for x in points[1:])
        return Outputs(np.where(missing, held, points.positions), *rates)

    def _by_short_way(self, points: Outputs, before: Reference | None, now_s: float) -> tuple[Outputs, tuple[str, ...]]:
        """Endless joints moved by whole turns to where they are, with a remark for each."""
        robot = self._robot
        if robot.endless is None or before is None:
            return points, ()
        present = self._flat.outputs(before, np.array([now_s])).positions[0]
        limits = robot.position_lower, robot.position_upper
        positions, turns = short_way(points.positions, present, robot.endless, *limits)
        moved = [(robot.channel_names[i], int(turns[i])) for i in np.flatnonzero(turns)]
        remarks = tuple(f"joint '{name}' goes the short way: moved by {count:+d} turns" for name, count in moved)
        return Outputs(positions, *points[1:]), remarks

    def _motion(
        self, times: Array, points: Outputs, before: Reference | None, start_s: float
    ) -> tuple[_Motion, tuple[str, ...]]:
        """The motion within the limits from start_s on, with a remark if it begins later."""
        if before is None or start_s >= times[0]:
            return self._feasible(times, points, before), ()
        with suppress(SignalError):
            return self._feasible(np.insert(times, 0, start_s), self._from(before, start_s, points), before), ()
        late = f"its first point is too near: the robot moves there from {times[0]:.3f} s on, within its limits"
        return self._feasible(times, points, before), (late,)

    def _from(self, before: Reference, start_s: float, points: Outputs) -> Outputs:
        """The points after that of the present reference at start_s."""
        here = self._flat.outputs(before, np.array([start_s]))
        positions, velocities, accelerations = points
        if velocities is None and here.velocities is not None and np.any(np.abs(here.velocities) > _SAME):
            velocities = np.full_like(positions, np.nan)
        rates = zip(here[1:], (velocities, accelerations), strict=True)
        return Outputs(
            np.concatenate([here.positions, positions]),
            *(None if now is None or later is None else np.concatenate([now, later]) for now, later in rates),
        )

    def _feasible(self, times: Array, points: Outputs, before: Reference | None) -> _Motion:
        """The motion within the limits, slowed if it must be."""
        try:
            return self._checked(times, points, before, 1.0)
        except SignalError as problem:
            if len(times) < 2 or not _passes(lambda: self._checked(times, points, before, SLOWER[-1])):
                raise problem
        for slower in SLOWER[:-1]:
            with suppress(SignalError):
                return self._checked(times, points, before, slower)
        return self._checked(times, points, before, SLOWER[-1])

    def _checked(self, times: Array, points: Outputs, before: Reference | None, slower: float) -> _Motion:
        """The motion, slowed by a factor. Raises SignalError."""
        begin_s, length_s = float(times[0]), slower * float(times[-1] - times[0])
        if slower != 1.0:
            times = begin_s + slower * (times - begin_s)
            rates = (None if x is None else x / slower**order for order, x in enumerate(points[1:], 1))
            points = Outputs(points.positions, *rates)
        new = self._flat.through(times, points)
        self._flat.check(new, begin_s, length_s, where=before)
        return _Motion(new, begin_s, begin_s + length_s, slower)

    def _in_force(self, now_s: float) -> Reference | None:
        """The reference in force at now_s."""
        if self._pending is not None and (self._pending[0] <= now_s or self._active is None):
            return self._pending[1]
        return self._active

    def _braking_s(self, motion: _Motion) -> float:
        """Time at which a trajectory that moves at its end begins to brake, else infinity.

        Usually its continuation arrives before that time.
        """
        velocities = self._flat.outputs(motion.reference, np.array([motion.end_s])).velocities
        moves = velocities is not None and np.any(np.abs(velocities) > _SAME)
        return motion.end_s if moves else np.inf

    def _fade_into(self, old: Reference, new: Reference, join_s: float, until_s: float) -> _Fade | None:
        """The fade that makes the new reference begin as the old one continues; None if not needed.

        The sum is checked until the fade ends, or until_s.
        """
        flat = self._flat
        if self._target is not None and _same(flat.gaps(self._target, new, join_s)):
            over = self._fade is None or self._fade.end_s <= join_s
            return None if over else self._fade  # the same motion was sent again: the present fade continues
        gaps = flat.gaps(old, new, join_s)
        if _same(gaps):
            return None
        shortest = flat.shortest_s(gaps)
        problem: SignalError | None = None
        for attempt in range(_EASE_ATTEMPTS):
            fade = _Fade(gaps, join_s, shortest * _EASE_GROWTH**attempt)
            try:
                checked_s = min(fade.duration_s, max(until_s - join_s, 0.0))
                flat.check(flat.eased(new, gaps, join_s, fade.duration_s), join_s, checked_s, where=old)
                return fade
            except SignalError as error:
                problem = error
        raise SignalError(f"reference: no transition within the limits from the present one to the new one: {problem}")


def _same(gaps: Array) -> bool:
    """True if position, velocity and acceleration agree."""
    return bool(np.all(np.abs(gaps[:3]) <= _SAME))


def _passes(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except SignalError:
        return False
    return True


def _remarks(points: Outputs, slower: float, late_s: float) -> tuple[str, ...]:
    found = []
    if slower != 1.0:
        found.append(f"slowed by {100.0 * (slower - 1.0):.1f} %: it exceeded a limit by as much")
    if points.velocities is not None and len(points.positions) > 1 and np.any(np.abs(points.velocities[-1]) > _SAME):
        found.append("its last point moves: unless more follows, the robot brakes there")
    if late_s > 0.0 and len(points.positions) > 1:
        found.append(f"late by {1e3 * late_s:.0f} ms: its end is held")
    return tuple(found)
