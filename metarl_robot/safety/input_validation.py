# SPDX-License-Identifier: Apache-2.0
"""Input validation: checks sizes, finiteness, stamps and positions of measured states.

Stamps. A stamp must advance. One that goes back, or leaps ahead by more than `max_step_s`, is refused. When
`RESYNC_COUNT` stamps in a row agree with each other on a new time base (a clock that was set, a simulation that was
reset), the new base is accepted and `epoch` increments, so that users of times can restart. A state must be later
than the last accepted state; it may be earlier than a refused one.

Positions. A position is refused if it is further from the last one than the robot can have moved:

    q without attitude  each coordinate: max(SPEED_RATIO × velocity limit, both measured speeds) × (time since + JUMP_S)
    q with attitude     JUMP_M and an acceleration of JUMP_M_S2, from the position extrapolated with the last velocity

Without attitude, a state is also refused if a velocity changes by more than 2 SPEED_RATIO × velocity limit: an impact
does not do that, but a sensor spike does, and the brakes would react to it with full effort.

A new position is accepted when `RELOCATED_COUNT` positions in a row agree with each other and span
`RELOCATED_PERIODS` periods of the states before (a robot that was reset, odometry that relocalised); `epoch`
increments. A second publisher that alternates with the first never satisfies this, at any rate. Before
`RELOCATED_COUNT` states have been accepted, two publishers that disagree cannot be ranked: both are refused until
only one sends.

Frozen. A driver may repeat its last sample with new stamps. A state is refused if its position and velocity have been
bit-identical for `FROZEN_S` and its velocity would have moved the robot by `FROZEN_M` (m or rad) in that time.
A robot at rest measures zero velocity, or noise that changes. With an attitude only the linear velocity counts,
because a separate IMU may measure the rates.

Clock. `ClockCheck` compares stamps with this machine's clock and refuses a stamp that is too far from it. After a
clock was set or restarted, `RESYNC_COUNT` stamps in a row that advance as fast as they arrive are accepted as a new
time base. A delay does not change the time base: its stamps continue the previous ones and arrive late.

Quaternions. A norm that is off by more than `NORM_TOLERANCE` is refused. A smaller error is normalised, and the sign
is set to that of the previous quaternion.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from math import isfinite
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.robot import Robot
from metarl_robot.core.rotation import nearest_sign, normalise
from metarl_robot.core.signals import Inertial, State
from metarl_robot.safety.refusals import Refusals, Rejection

__all__ = ["ClockCheck", "InertialIntake", "Refused", "Rejection", "StateValidation", "clock_problem"]

Array = NDArray[np.float64]

RESYNC_COUNT = 3  # stamps that must agree before a new time base is accepted
RELOCATED_COUNT = 10  # positions that must agree before a leap is accepted
STRANGERS = 3  # after more leaps in a row their stamps advance the time; fewer may come from a second publisher
RELOCATED_PERIODS = 3.0  # minimum span of those positions, in periods of the previous states
SPEED_RATIO = 2.0  # a coordinate changes at most at this multiple of its velocity limit, or its measured speed
JUMP_S = 0.03  # covers jitter of stamps and noise of positions
NORM_TOLERANCE = 0.01  # of a quaternion
JUMP_M = 0.3  # allowed distance from the extrapolated position,
JUMP_M_S2 = 40.0  # plus the effect of this acceleration since
MAX_VALUE = 1e3  # rad, m and their rates; larger values come from broken messages only
MAX_STEP_S = 0.25  # a longer gap between two states is a jump
FROZEN_S = 0.02  # values may repeat for this long: a sensor may be slower than its driver
FROZEN_M = 2e-3  # m or rad; above the noise and resolution of positions
STOOD_S = 0.05  # the clock stands still if its stamp repeats after this long
_SINCE_BOOT_S = 1e8  # a clock this far behind counts from its machine's boot
_EQUAL = 1.0 - 1e-6  # tolerance for rounding of times


class Refused(NamedTuple):
    """Reason for a refusal, and a text for the user."""

    why: Rejection
    text: str


def clock_problem(stamp_s: float, now_s: float, max_age_s: float) -> Refused | None:
    """Refuse a stamp further than `max_age_s` from this machine's clock."""
    age_s = now_s - stamp_s
    if abs(age_s) <= max_age_s:
        return None
    if stamp_s == 0.0:
        return Refused(Rejection.STAMP_ZERO, "")
    guess = ": since boot?" if age_s > _SINCE_BOOT_S else ""
    remedy = "synchronise the clocks, or set stamp_on_arrival:=true or max_state_age_s"
    text = (
        f"stamps are {abs(age_s):.2g} s {_side(age_s)} this machine's clock{guess} (allowed: {max_age_s:g} s); {remedy}"
    )
    return Refused(Rejection.STALE if age_s > 0.0 else Rejection.FUTURE, text)


class ClockCheck:
    """Refuses stamps far from this machine's clock until it accepts a new time base; see the module's docstring.

    changes: number of accepted time bases. reason: text for the latest one.
    """

    def __init__(self) -> None:
        self._offset_s = 0.0  # this machine's clock minus the stamps' time base
        self._first: tuple[float, float] | None = None  # stamp and first arrival of the newest near stamp
        self._candidates: list[tuple[float, float]] = []
        self._broken = False
        self.changes, self.reason = 0, ""

    def check(self, stamp_s: float, now_s: float, steady_s: float, max_age_s: float) -> Refused | None:
        """Check a stamp; None if it is near.

        now_s: this machine's clock; steady_s: its steady clock.
        """
        problem = clock_problem(stamp_s + self._offset_s, now_s, max_age_s)
        if problem is None:
            self._near(stamp_s, steady_s)
            return None
        if self._first is None or not isfinite(stamp_s):
            return problem
        self._broken = self._broken or self._breaks(stamp_s, steady_s, max_age_s, ahead=problem.why is Rejection.FUTURE)
        if not (self._broken and self._new_base(stamp_s, steady_s, max_age_s)):
            return problem
        self._offset_s = now_s - stamp_s
        self.changes += 1
        self.reason = (
            f"a clock was set: stamps are now {abs(self._offset_s):.2g} s {_side(self._offset_s)} this machine's clock"
        )
        self._near(stamp_s, steady_s)
        return None

    def _near(self, stamp_s: float, steady_s: float) -> None:
        if self._first is None or self._first[0] != stamp_s:
            self._first = stamp_s, steady_s
        self._candidates.clear()
        self._broken = False

    def _breaks(self, stamp_s: float, steady_s: float, max_age_s: float, ahead: bool) -> bool:
        """Whether a clock was set or stood still.

        A delay cannot make stamps go back or run ahead, nor leave their travel time unchanged.
        """
        assert self._first is not None
        last_s, came_s = self._first
        stood = stamp_s == last_s and steady_s - came_s > STOOD_S
        same_travel = abs((stamp_s - last_s) - (steady_s - came_s)) <= 0.5 * max_age_s
        return ahead or stamp_s < last_s or stood or same_travel

    def _new_base(self, stamp_s: float, steady_s: float, max_age_s: float) -> bool:
        if self._candidates:
            last_s, came_s = self._candidates[-1]
            advanced_s = stamp_s - last_s
            if not (0.0 < advanced_s <= MAX_STEP_S and abs(advanced_s - (steady_s - came_s)) <= max_age_s):
                self._candidates.clear()
        self._candidates.append((stamp_s, steady_s))
        return len(self._candidates) >= RESYNC_COUNT


def _side(age_s: float) -> str:
    return "behind" if age_s > 0.0 else "ahead of"


class StampFilter:
    """Accepts stamps that advance by at most `max_step_s`; see the module's docstring.

    last_s: newest plausible stamp, also of a message refused for its values; None before the first.
    epoch: number of changes of the time base.
    """

    def __init__(self, max_step_s: float = MAX_STEP_S) -> None:
        self._max_step_s = max_step_s
        self._candidates: list[float] = []
        self._good_s: float | None = None
        self._period_s = 0.0  # between the last two accepted
        self.last_s: float | None = None
        self.epoch = 0

    def check(self, stamp_s: float) -> Rejection | None:
        """Accept a plausible stamp; None if accepted."""
        problem = self.judge(stamp_s)
        if problem is None:
            self.accept(stamp_s)
        return problem

    def judge(self, stamp_s: float) -> Rejection | None:
        """Check a stamp without accepting it; None if plausible. Call `accept` or `let_pass` next."""
        if not isfinite(stamp_s):
            return Rejection.STAMP_JUMPED
        if stamp_s in (self._good_s, self.last_s, *self._candidates[-1:]):
            return Rejection.DUPLICATE
        if self.last_s is None or self._follows(stamp_s, self.last_s):
            return None
        if self._new_base(stamp_s):
            self.epoch += 1
            self.last_s, self._good_s, self._period_s = stamp_s, None, 0.0
            return None
        return Rejection.STAMP_BACKWARDS if stamp_s < self.last_s else Rejection.STAMP_JUMPED

    def accept(self, stamp_s: float) -> None:
        """Accept a judged stamp: its message is good."""
        if self._good_s is not None:
            self._period_s = stamp_s - self._good_s
        self.last_s = self._good_s = stamp_s
        self._candidates.clear()

    def let_pass(self, stamp_s: float) -> None:
        """Advance the time to a judged stamp of a message that is refused for another reason."""
        if self.last_s is None or 0.0 < stamp_s - self.last_s <= self._max_step_s:
            self.last_s = stamp_s
        self._candidates.clear()

    def _follows(self, stamp_s: float, last_s: float) -> bool:
        before_s = last_s - self._max_step_s if self._good_s is None else self._good_s
        return stamp_s > before_s and stamp_s - last_s <= self._max_step_s

    def _new_base(self, stamp_s: float) -> bool:
        if self._candidates and not 0.0 < stamp_s - self._candidates[-1] <= self._max_step_s:
            self._candidates.clear()
        self._candidates.append(stamp_s)
        lasted_s = stamp_s - self._candidates[0]
        long = lasted_s >= (RESYNC_COUNT - 1) * min(self._period_s, self._max_step_s) * _EQUAL
        return len(self._candidates) >= RESYNC_COUNT and long


Follows = Callable[[State, State, float], bool]
"""Whether the second state can follow the first after the given time [s]."""


class LeapFilter:
    """Refuses positions that jump; see the module's docstring.

    relocations: number of accepted jumps. in_doubt: two positions disagreed before `RELOCATED_COUNT` were accepted.
    """

    def __init__(self, follows: Follows) -> None:
        self._follows = follows
        self.relocations = 0
        self.forget()

    def forget(self) -> None:
        """Forget all positions after a change of the time base: the next one is accepted."""
        self.last: tuple[float, State] | None = None
        self._elsewhere: list[tuple[float, State]] = []
        self._streak, self._period_s = 0, 0.0
        self.in_doubt = False

    def check(self, state: State, stamp_s: float) -> bool:
        """Whether the state is accepted."""
        here = stamp_s, state
        if not self.in_doubt and (self.last is None or self._near(self.last, here)):
            self._believe(here)
            return True
        if not self.in_doubt and self._streak < RELOCATED_COUNT:
            self.last, self.in_doubt = None, True
        if not self._relocated(here):
            return False
        self.relocations += 1
        self._streak, self.last, self.in_doubt = RELOCATED_COUNT, None, False
        self._believe(here)
        return True

    def _believe(self, here: tuple[float, State]) -> None:
        if self.last is not None:
            self._period_s = here[0] - self.last[0]
        self.last = here
        self._streak += 1
        self._elsewhere.clear()

    def _near(self, before: tuple[float, State], here: tuple[float, State]) -> bool:
        return self._follows(before[1], here[1], min(max(here[0] - before[0], 0.0), MAX_STEP_S))

    def _relocated(self, here: tuple[float, State]) -> bool:
        if self._elsewhere and not self._near(self._elsewhere[-1], here):
            self._elsewhere.clear()
        self._elsewhere.append(here)
        lasted_s = here[0] - self._elsewhere[0][0]
        long = lasted_s >= RELOCATED_PERIODS * min(self._period_s, MAX_STEP_S) * _EQUAL
        return len(self._elsewhere) >= RELOCATED_COUNT and long


def coordinates_follow(fastest: Array, near: Array, before: State, state: State, elapsed_s: float) -> bool:
    """Whether each coordinate can have moved from one state to the other; see the module's docstring.

    fastest: (dof,) SPEED_RATIO times the velocity limit. near: (dof,) distance that is always allowed.
    """
    if not (np.abs(state.v - before.v) <= 2.0 * fastest).all():
        return False
    moved = np.abs(state.q - before.q)
    if (moved <= near).all():
        return True
    fastest = np.maximum(fastest, np.maximum(np.abs(before.v), np.abs(state.v)))
    return bool((moved <= fastest * (elapsed_s + JUMP_S)).all())


def base_follows(n: int, before: State, state: State, elapsed_s: float) -> bool:
    """Whether a base with n position coordinates can have moved from one state to the other; see the docstring."""
    predicted = before.q[:n] + elapsed_s * before.v[:n]
    return float(np.linalg.norm(state.q[:n] - predicted)) <= JUMP_M + 0.5 * JUMP_M_S2 * elapsed_s**2


class PositionFilter:
    """Checks positions."""

    def __init__(self, follows: Follows) -> None:
        self.leaps = LeapFilter(follows)

    def check(self, state: State, stamp_s: float) -> tuple[Rejection | None, State]:
        """Check a position; returns (None if accepted, the state)."""
        return (None if self.leaps.check(state, stamp_s) else Rejection.POSITION_JUMPED), state


class PoseFilter(PositionFilter):
    """Checks positions and attitude, and normalises the attitude. attitude: its place in q."""

    def __init__(self, attitude: slice) -> None:
        super().__init__(partial(base_follows, attitude.start))
        self._attitude = attitude

    def check(self, state: State, stamp_s: float) -> tuple[Rejection | None, State]:
        """Check a pose; returns (None if accepted, the state with a normalised attitude)."""
        measured = state.q[self._attitude]
        norm = float(np.linalg.norm(measured))
        if abs(norm - 1.0) > NORM_TOLERANCE:
            return Rejection.NOT_NORMALISED, state
        attitude = normalise(measured)
        if self.leaps.last is not None:
            attitude = nearest_sign(attitude, self.leaps.last[1].q[self._attitude])
        q = state.q.copy()
        q[self._attitude] = attitude
        return super().check(replace(state, q=q), stamp_s)


def position_filter(robot: Robot) -> PositionFilter:
    """Position filter for the robot."""
    if robot.attitude is not None:
        return PoseFilter(robot.attitude)
    fastest = SPEED_RATIO * robot.velocity_limit
    return PositionFilter(partial(coordinates_follow, fastest, fastest * JUMP_S))


@dataclass(frozen=True)
class Measurement:
    """An accepted state, its stamp and its arrival (steady clock), both in seconds."""

    state: State
    stamp_s: float
    received_s: float


class StateValidation:
    """Keeps the newest usable state of a robot and counts refusals.

    latest: newest accepted state; None before the first.
    time_s: newest plausible stamp, also of a state refused for its values, so that time advances while a sensor is
    broken. A second publisher that alternates does not advance it.
    refusals: counts and reasons of refused states.
    """

    def __init__(self, robot: Robot, max_step_s: float = MAX_STEP_S) -> None:
        self._sizes = (robot.nq,), (robot.dof,)
        self._place = robot.position_size
        self._position = position_filter(robot)
        self._stamps = StampFilter(max_step_s)
        self._leaps = 0  # in a row, since the last accepted state
        self._newest: State | None = None  # newest accepted state as received,
        self._changed_s = 0.0  # and the first stamp with its values
        self.latest: Measurement | None = None
        self.refusals = Refusals()

    @property
    def rejections(self) -> Counter[str]:
        """Number of refusals by reason."""
        return self.refusals.counts

    @property
    def time_s(self) -> float | None:
        return self._stamps.last_s

    @property
    def epoch(self) -> int:
        """Number of changes of the time base and of relocations."""
        return self._stamps.epoch + self._position.leaps.relocations

    def offer(self, state: State, stamp_s: float, received_s: float) -> Rejection | None:
        """Take a state; None if accepted.

        A change of the time base discards the latest state.
        """
        problem = self._judge(stamp_s)
        if problem is not None:
            problem = self._repeated(state, stamp_s) if problem is Rejection.DUPLICATE else problem
            self.reject(problem)
            return problem
        newest, problem = state, self._value_problem(state)
        if problem is None and self._is_frozen(state, stamp_s):
            problem = Rejection.FROZEN
        if problem is None:
            problem, state = self._position.check(state, stamp_s)
        if problem is None:
            self._stamps.accept(stamp_s)
            self._newest = newest
            self.latest = Measurement(state, stamp_s, received_s)
            self._leaps = 0
            self.refusals.good()
            return None
        self._leaps += problem is Rejection.POSITION_JUMPED
        if self._leaps == 0 or self._leaps > STRANGERS:
            self._stamps.let_pass(stamp_s)
        if self._position.leaps.in_doubt:
            self.latest = None
        self.reject(problem)
        return problem

    def refresh(self, received_s: float) -> None:
        """Renew the arrival of the newest state: its source is alive although its time stands still."""
        if self.latest is not None and self.latest.stamp_s == self.time_s:
            self.latest = replace(self.latest, received_s=received_s)

    def offer_time(self, stamp_s: float) -> None:
        """Advance the time to the stamp of an unreadable state."""
        if self._judge(stamp_s) is None:
            self._stamps.let_pass(stamp_s)

    def reject(self, why: Rejection, detail: str = "") -> None:
        """Count a refusal, also one by the caller (an unreadable message)."""
        self.refusals.add(why, detail)

    def _judge(self, stamp_s: float) -> Rejection | None:
        if stamp_s < -MAX_STEP_S:  # a simulation's first measurements precede its time 0
            return Rejection.STAMP_NEGATIVE
        epoch = self._stamps.epoch
        problem = self._stamps.judge(stamp_s)
        if self._stamps.epoch != epoch:
            self.latest = None
            self._position.leaps.forget()
        return problem

    def _is_frozen(self, state: State, stamp_s: float) -> bool:
        """Whether the values have been the same for too long; see the module's docstring."""
        last, n = self._newest, self._place
        same = last is not None and self.latest is not None and state.q[0] == last.q[0]  # cheap first test
        if (
            last is None
            or not same
            or not (np.array_equal(state.q, last.q) and np.array_equal(state.v[:n], last.v[:n]))
        ):
            self._changed_s = stamp_s
            return False
        same_s = stamp_s - self._changed_s
        return same_s >= FROZEN_S * _EQUAL and float(np.abs(state.v[:n]).max()) * same_s > FROZEN_M

    def _repeated(self, state: State, stamp_s: float) -> Rejection:
        """Classify a repeated stamp: a duplicate message, or new values."""
        if self.latest is None or stamp_s != self.latest.stamp_s or self._value_problem(state) is not None:
            return Rejection.DUPLICATE
        n, last = self._place, self.latest.state
        if np.array_equal(state.q[:n], last.q[:n]) and np.array_equal(state.v[:n], last.v[:n]):
            return Rejection.DUPLICATE
        return Rejection.STAMP_ZERO if stamp_s == 0.0 else Rejection.STAMP_REPEATED

    def _value_problem(self, state: State) -> Rejection | None:
        if (state.q.shape, state.v.shape) != self._sizes or (
            state.specific_force is not None and state.specific_force.shape != (3,)
        ):
            return Rejection.SIZE
        return number_problem(*(part for part in (state.q, state.v, state.specific_force) if part is not None))


@dataclass(frozen=True)
class InertialMeasurement:
    """An accepted IMU measurement, its stamp and its arrival [s]."""

    inertial: Inertial
    stamp_s: float
    received_s: float


class InertialIntake:
    """Keeps the newest usable measurement of an IMU and counts refusals.

    While the IMU's clock stands still, new measurements share one stamp. Their stamps are extrapolated from the first
    one's with the steady clock.
    """

    def __init__(self, max_step_s: float = MAX_STEP_S) -> None:
        self._stamps = StampFilter(max_step_s)
        self._first = 0.0, 0.0  # stamp and first arrival of the newest stamp
        self.latest: InertialMeasurement | None = None
        self.refusals = Refusals()

    @property
    def rejections(self) -> Counter[str]:
        """Number of refusals by reason."""
        return self.refusals.counts

    def offer(self, inertial: Inertial, stamp_s: float, received_s: float) -> Rejection | None:
        """Take a measurement; None if accepted."""
        parts = [part for part in (inertial.specific_force, inertial.rate, inertial.attitude) if part is not None]
        problem = self._stamps.check(stamp_s)
        if problem is Rejection.DUPLICATE and self._is_new(inertial, stamp_s):
            problem = None
        stamp_s += self._stood(stamp_s, received_s)
        problem = problem or number_problem(*parts)
        if (
            problem is None
            and inertial.attitude is not None
            and abs(float(np.linalg.norm(inertial.attitude)) - 1.0) > NORM_TOLERANCE
        ):
            problem = Rejection.NOT_NORMALISED
        if problem is None:
            self.latest = InertialMeasurement(inertial, stamp_s, received_s)
            self.refusals.good()
        else:
            self.reject(problem)
        return problem

    def _is_new(self, inertial: Inertial, stamp_s: float) -> bool:
        """Whether the newest stamp repeats with another measurement."""
        if self.latest is None or stamp_s != self._first[0]:
            return False
        last = self.latest.inertial
        return not (
            np.array_equal(inertial.rate, last.rate) and np.array_equal(inertial.specific_force, last.specific_force)
        )

    def _stood(self, stamp_s: float, received_s: float) -> float:
        """Time [s] for which the clock has stood at this stamp."""
        if stamp_s != self._first[0]:
            self._first = stamp_s, received_s
        return max(received_s - self._first[1], 0.0)

    def reject(self, why: Rejection, detail: str = "") -> None:
        """Count a refusal, also one by the caller."""
        self.refusals.add(why, detail)


def number_problem(*parts: Array) -> Rejection | None:
    """Refuse values that are not finite or implausibly large; no part may be empty."""
    if all(-MAX_VALUE <= value <= MAX_VALUE for part in parts for value in part.ravel().tolist()):
        return None
    largest = [float(np.abs(part).max()) for part in parts]
    if not all(map(isfinite, largest)):
        return Rejection.NOT_FINITE
    return Rejection.IMPLAUSIBLE if max(largest) > MAX_VALUE else None
