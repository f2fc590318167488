"""What comes in from outside is checked once, here: sizes, finiteness, stamps and poses of measured states.

A stamp must advance. One that goes back, or leaps ahead by more than `max_step_s`, is refused; when `RESYNC_COUNT` stamps
in a row agree with each other on a new time base (a clock that was set, a simulation that was reset), the new base is
taken and `epoch` counts up, so that whoever keeps times can start afresh.

The pose of a floating base is checked likewise. A quaternion whose norm is off by more than `NORM_TOLERANCE` is refused; what is
less is put right, and its sign made that of the quaternion before. A position that leaps (further from where the velocity
led than `JUMP_M` and an acceleration of `JUMP_M_S2` explain) is refused, until `RELOCATED_COUNT` positions in a row agree on where the
robot is (the odometry found itself again): then it is believed, and `epoch` counts up.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from enum import Enum
from math import isfinite

import numpy as np
from numpy.typing import NDArray

from metarl_robot.gate_law import Inertial
from metarl_robot.robot import Robot
from metarl_robot.rotation import nearest_sign, normalise
from metarl_robot.signals import State

Array = NDArray[np.float64]

RESYNC_COUNT = 3  # stamps that must agree before a new time base is believed
RELOCATED_COUNT = 10  # positions that must agree before a leap is believed
NORM_TOLERANCE = 0.01  # of a quaternion
JUMP_M = 0.3  # a position may be so far from where the last velocity led,
JUMP_M_S2 = 40.0  # and further by what this acceleration makes of the time since
MAX_VALUE = 1e3  # rad, m and their rates: no joint gets there, only broken messages do
MAX_STEP_S = 0.25  # a longer silence between two states is a jump


class Rejection(Enum):
    """Why something that came in is not used. The values are the names in /diagnostics."""

    DUPLICATE = "repeated"
    NAMES = "names"
    FRAME = "frame"
    SIZE = "size"
    NOT_FINITE = "not_finite"
    IMPLAUSIBLE = "implausible"
    NOT_NORMALISED = "not_normalised"
    POSITION_JUMPED = "position_jumped"
    STAMP_BACKWARDS = "stamp_backwards"
    STAMP_JUMPED = "stamp_jumped"
    STALE = "stale"
    FUTURE = "future"
    NO_STATE = "no_state"


class StampFilter:
    """Accepts stamps that advance by at most `max_step_s`; see the module's docstring.

    last_s: the newest accepted stamp, None before the first. epoch: how often the time base changed.
    """

    def __init__(self, max_step_s: float = MAX_STEP_S) -> None:
        self._max_step_s = max_step_s
        self._candidates: list[float] = []
        self.last_s: float | None = None
        self.epoch = 0

    def check(self, stamp_s: float) -> Rejection | None:
        """None when the stamp is accepted."""
        if self.last_s is None or 0.0 < stamp_s - self.last_s <= self._max_step_s:
            self._accept(stamp_s)
            return None
        if stamp_s == self.last_s or stamp_s in self._candidates[-1:]:
            return Rejection.DUPLICATE
        if self._new_base(stamp_s):
            self.epoch += 1
            self._accept(stamp_s)
            return None
        return Rejection.STAMP_BACKWARDS if stamp_s < self.last_s else Rejection.STAMP_JUMPED

    def _accept(self, stamp_s: float) -> None:
        self.last_s = stamp_s
        self._candidates.clear()

    def _new_base(self, stamp_s: float) -> bool:
        if self._candidates and not 0.0 < stamp_s - self._candidates[-1] <= self._max_step_s:
            self._candidates.clear()
        self._candidates.append(stamp_s)
        return len(self._candidates) >= RESYNC_COUNT


class PoseFilter:
    """Checks and puts right the pose of a floating base; see the module's docstring.

    relocations: how often a leap was believed.
    """

    def __init__(self) -> None:
        self._last: tuple[float, State] | None = None
        self._elsewhere: list[tuple[float, State]] = []
        self.relocations = 0

    def check(self, state: State, stamp_s: float) -> tuple[Rejection | None, State]:
        """(None when the pose is accepted, the state put right)."""
        norm = float(np.linalg.norm(state.q[3:]))
        if abs(norm - 1.0) > NORM_TOLERANCE:
            return Rejection.NOT_NORMALISED, state
        attitude = normalise(state.q[3:])
        if self._last is not None:
            attitude = nearest_sign(attitude, self._last[1].q[3:])
        state = replace(state, q=np.concatenate([state.q[:3], attitude]))
        if self._last is not None and not self._near(self._last, stamp_s, state) and not self._relocated(stamp_s, state):
            return Rejection.POSITION_JUMPED, state
        self._last = stamp_s, state
        self._elsewhere.clear()
        return None, state

    def forget(self) -> None:
        """The time base has changed: the next pose is believed."""
        self._last = None
        self._elsewhere.clear()

    def _near(self, before: tuple[float, State], stamp_s: float, state: State) -> bool:
        """Whether a state can follow another."""
        elapsed_s = stamp_s - before[0]
        predicted = before[1].q[:3] + elapsed_s * before[1].v[:3]
        return float(np.linalg.norm(state.q[:3] - predicted)) <= JUMP_M + 0.5 * JUMP_M_S2 * elapsed_s**2

    def _relocated(self, stamp_s: float, state: State) -> bool:
        if self._elsewhere and not self._near(self._elsewhere[-1], stamp_s, state):
            self._elsewhere.clear()
        self._elsewhere.append((stamp_s, state))
        if len(self._elsewhere) < RELOCATED_COUNT:
            return False
        self.relocations += 1
        return True


@dataclass(frozen=True)
class Measurement:
    """An accepted state, when it was taken (stamp) and when it arrived (steady clock), both in seconds."""

    state: State
    stamp_s: float
    received_s: float


class StateIntake:
    """Keeps the newest usable state of a robot and counts what it refused.

    latest: the newest accepted state, None before the first. time_s: the newest believable stamp, also of a state whose
    values were refused: time goes on while a sensor is broken.
    """

    def __init__(self, robot: Robot, max_step_s: float = MAX_STEP_S) -> None:
        self._sizes = (robot.nq,), (robot.dof,)
        self._pose = PoseFilter() if robot.floating else None
        self._stamps = StampFilter(max_step_s)
        self.latest: Measurement | None = None
        self.rejections: Counter[str] = Counter()

    @property
    def time_s(self) -> float | None:
        return self._stamps.last_s

    @property
    def epoch(self) -> int:
        """Counts changes of the time base and of the place."""
        return self._stamps.epoch + (0 if self._pose is None else self._pose.relocations)

    def offer(self, state: State, stamp_s: float, received_s: float) -> Rejection | None:
        """Take a state in; None when it was accepted. A state of a former time base is forgotten when the base changes."""
        epoch = self._stamps.epoch
        problem = self._stamps.check(stamp_s)
        if self._stamps.epoch != epoch:
            self.latest = None
            if self._pose is not None:
                self._pose.forget()
        problem = problem or self._value_problem(state)
        if problem is None and self._pose is not None:
            problem, state = self._pose.check(state, stamp_s)
        if problem is None:
            self.latest = Measurement(state, stamp_s, received_s)
        else:
            self.reject(problem)
        return problem

    def refresh(self, received_s: float) -> None:
        """The newest state came once more: a source whose time stands still, on purpose, is alive."""
        if self.latest is not None and self.latest.stamp_s == self.time_s:
            self.latest = replace(self.latest, received_s=received_s)

    def offer_time(self, stamp_s: float) -> None:
        """Take the stamp of a state that could not even be read: time goes on."""
        self._stamps.check(stamp_s)

    def reject(self, why: Rejection) -> None:
        """Count a refusal that was noticed elsewhere (a message that could not be read)."""
        self.rejections[why.value] += 1

    def _value_problem(self, state: State) -> Rejection | None:
        if (state.q.shape, state.v.shape) != self._sizes or (state.specific_force is not None and state.specific_force.shape != (3,)):
            return Rejection.SIZE
        return _number_problem(*(part for part in (state.q, state.v, state.specific_force) if part is not None))


@dataclass(frozen=True)
class InertialMeasurement:
    """An accepted measurement of the IMU, with its two times [s]."""

    inertial: Inertial
    stamp_s: float
    received_s: float


class InertialIntake:
    """Keeps the newest usable measurement of an IMU and counts what it refused."""

    def __init__(self, max_step_s: float = MAX_STEP_S) -> None:
        self._stamps = StampFilter(max_step_s)
        self.latest: InertialMeasurement | None = None
        self.rejections: Counter[str] = Counter()

    def offer(self, inertial: Inertial, stamp_s: float, received_s: float) -> Rejection | None:
        """Take a measurement in; None when it was accepted."""
        parts = [part for part in (inertial.specific_force, inertial.rate, inertial.attitude) if part is not None]
        problem = self._stamps.check(stamp_s) or _number_problem(*parts)
        if problem is None and inertial.attitude is not None and abs(float(np.linalg.norm(inertial.attitude)) - 1.0) > NORM_TOLERANCE:
            problem = Rejection.NOT_NORMALISED
        if problem is None:
            self.latest = InertialMeasurement(inertial, stamp_s, received_s)
        else:
            self.reject(problem)
        return problem

    def reject(self, why: Rejection) -> None:
        """Count a refusal that was noticed elsewhere."""
        self.rejections[why.value] += 1


def _number_problem(*parts: Array) -> Rejection | None:
    largest = [float(np.abs(part).max()) for part in parts]
    if not all(map(isfinite, largest)):
        return Rejection.NOT_FINITE
    return Rejection.IMPLAUSIBLE if max(largest) > MAX_VALUE else None
