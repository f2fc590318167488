"""What comes in from outside is checked once, here: sizes, finiteness and stamps of measured states.

A stamp must advance. One that goes back, or leaps ahead by more than `max_step_s`, is refused; when `RESYNC_COUNT` stamps
in a row agree with each other on a new time base (a clock that was set, a simulation that was reset), the new base is
taken and `epoch` counts up, so that whoever keeps times can start afresh.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from enum import Enum

import numpy as np

from metarl_robot.signals import State

RESYNC_COUNT = 3  # stamps that must agree before a new time base is believed
MAX_VALUE = 1e3  # rad and rad/s: no joint gets there, only broken messages do
MAX_STEP_S = 0.25  # a longer silence between two states is a jump


class Rejection(Enum):
    """Why something that came in is not used. The values are the names in /diagnostics."""

    DUPLICATE = "repeated"
    NAMES = "names"
    SIZE = "size"
    NOT_FINITE = "not_finite"
    IMPLAUSIBLE = "implausible"
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


@dataclass(frozen=True)
class Measurement:
    """An accepted state, when it was taken (stamp) and when it arrived (steady clock), both in seconds."""

    state: State
    stamp_s: float
    received_s: float


class StateIntake:
    """Keeps the newest usable state of an arm with `dof` joints and counts what it refused.

    latest: the newest accepted state, None before the first. time_s: the newest believable stamp, also of a state whose
    values were refused: time goes on while a sensor is broken.
    """

    def __init__(self, dof: int, max_step_s: float = MAX_STEP_S) -> None:
        self._dof = dof
        self._stamps = StampFilter(max_step_s)
        self.latest: Measurement | None = None
        self.rejections: Counter[str] = Counter()

    @property
    def time_s(self) -> float | None:
        return self._stamps.last_s

    @property
    def epoch(self) -> int:
        """Counts changes of the time base."""
        return self._stamps.epoch

    def offer(self, state: State, stamp_s: float, received_s: float) -> Rejection | None:
        """Take a state in; None when it was accepted. A state of a former time base is forgotten when the base changes."""
        epoch = self.epoch
        problem = self._stamps.check(stamp_s)
        if self.epoch != epoch:
            self.latest = None
        problem = problem or self._value_problem(state)
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
        if state.q.shape != (self._dof,) or state.v.shape != (self._dof,):
            return Rejection.SIZE
        if not (np.all(np.isfinite(state.q)) and np.all(np.isfinite(state.v))):
            return Rejection.NOT_FINITE
        if max(np.max(np.abs(state.q)), np.max(np.abs(state.v))) > MAX_VALUE:
            return Rejection.IMPLAUSIBLE
        return None
