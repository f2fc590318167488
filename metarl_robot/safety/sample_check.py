# SPDX-License-Identifier: Apache-2.0
"""Checks a sample (time, state) before a controller or an adapter uses it.

Wrong shapes and types are programming errors and raise SignalError. q (nq,), v (dof,) and specific_force (3,) must be
numpy arrays of real numbers; integers and other precisions are converted. Lists, strings, None and booleans are
refused. Angles that may be wrapped (Robot.wrapped) are continued from the last good sample.

Wrong values come from the robot: the sample is not used, and the reason is returned. A value is wrong if

    time      is not finite; less than SHORTEST_S or more than MAX_STEP_S after the last good one
    state     is not finite or beyond MAX_VALUE; a quaternion norm off by more than NORM_TOLERANCE; a position more than
              `BEYOND` beyond its limits; a velocity above `SPEEDS` times its limit; a position too far from the last
              good one (input_validation.py: positions); velocities that are missing (missing_velocity.py); positions
              that repeat while the robot moves (stuck_sensor.py)

An unusable specific force is left out and the rest of the state is used. When `AGREEING` samples in a row agree with
each other on another time or place (a simulation that was reset), the last of them is accepted. After an outage of
states of up to OUTAGE_S, RESYNC_COUNT samples suffice, and the time base is the same.
"""

from __future__ import annotations

from math import isfinite
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.errors import SignalError
from metarl_robot.core.robot import Robot
from metarl_robot.core.signals import State
from metarl_robot.core.turns import TURN
from metarl_robot.safety import missing_velocity
from metarl_robot.safety.input_validation import (
    JUMP_M,
    JUMP_M_S2,
    JUMP_S,
    MAX_STEP_S,
    MAX_VALUE,
    NORM_TOLERANCE,
    RESYNC_COUNT,
    SPEED_RATIO,
)
from metarl_robot.safety.stuck_sensor import StuckSensor

Array = NDArray[np.float64]

AGREEING = 10
OUTAGE_S = 2.0  # a longer leap of time is another time base: the robot may be elsewhere, with another payload
SHORTEST_S = 1e-6  # shorter steps are rounding of the same time
BEYOND = 3.2  # [rad, m]; half a turn: a robot may be pushed past the planner's limits
SPEEDS = 10.0  # the gate stops the robot here at the latest (GateConfig.overspeed_ratio)
_NORM_SQUARED = ((1.0 - NORM_TOLERANCE) ** 2, (1.0 + NORM_TOLERANCE) ** 2)


class _Seen(NamedTuple):
    """A sample: time [s], q and v as lists."""

    time: float
    q: list[float]
    v: list[float]


class SampleCheck:
    """Checks the samples of one robot; see the module's docstring.

    time: of the last good sample [s]; None before the first.
    moved: the last good sample has another time base.
    """

    def __init__(self, robot: Robot) -> None:
        self._robot = robot
        self._sizes, self._attitude, self._place = (robot.nq, robot.dof), robot.attitude, robot.position_size
        self._wrapped = robot.wrapped
        self._lower = np.maximum(robot.position_lower - BEYOND, -MAX_VALUE).tolist()
        self._upper = np.minimum(robot.position_upper + BEYOND, MAX_VALUE).tolist()
        self._fastest = np.minimum(SPEEDS * robot.velocity_limit, MAX_VALUE).tolist()
        self._speed = (SPEED_RATIO * robot.velocity_limit).tolist()
        self.reset()

    def reset(self) -> None:
        """Treat the next good sample as the first."""
        self._last: _Seen | None = None
        self._other: _Seen | None = None
        self._agreeing = 0
        self.moved = False
        self._velocity = missing_velocity.MissingVelocity()
        self._stuck = StuckSensor(self._robot)

    @property
    def time(self) -> float | None:
        return None if self._last is None else self._last.time

    def typed(self, time: Any, state: Any) -> tuple[float, State]:
        """Convert a sample to the right types, and continue its wrapped angles. Raises SignalError."""
        if type(time) is not float:
            time = number("time", time)
        if not isinstance(state, State):
            raise SignalError(f"state: must be a metarl_robot.core.signals.State; given: {_words(state)}")
        nq, dof = self._sizes
        q, v, force = vector("state.q", state.q, nq), vector("state.v", state.v, dof), state.specific_force
        if force is not None:
            force = vector("state.specific_force", force, 3)
            force = force if isfinite(force.sum()) else None
        q = self._continued(q)
        same = q is state.q and v is state.v and force is state.specific_force
        return time, state if same else State(q, v, force)

    def _continued(self, q: Array) -> Array:
        """Continue wrapped angles of q (nq,) from the last good sample; returns the same object if they do."""
        if self._wrapped is None or self._last is None:
            return q
        turns = np.round((np.array(self._last.q) - q) / TURN)
        turns = np.where(self._wrapped & np.isfinite(turns), turns, 0.0)
        return q + TURN * turns if turns.any() else q

    def problem(self, time: float, state: State) -> str | None:
        """Reason that a sample of the right types is not used; None if it is good."""
        self.moved = False
        seen = _Seen(time, state.q.tolist(), state.v.tolist())
        found = self._impossible(seen)
        if found is None and self._attitude is None and self._velocity.found(seen.q, seen.v):
            found = f"state is not usable: {missing_velocity.WORDS}"
        if found is None and (stuck := self._stuck.found(seen.time, seen.q, seen.v)) is not None:
            found = f"state is not usable: {stuck}"
        if found is not None:
            return found
        last = self._last
        found = None if last is None else self._does_not_follow(last, seen)
        if found is not None and last is not None and not self._agreed(last, seen):
            return found
        self.moved = found is not None and last is not None and not SHORTEST_S <= time - last.time <= OUTAGE_S
        self._last, self._other, self._agreeing = seen, None, 0
        return None

    def _agreed(self, last: _Seen, seen: _Seen) -> bool:
        """Whether enough samples in a row agree with each other instead of with the last good one."""
        follows = self._other is not None and self._does_not_follow(self._other, seen) is None
        self._agreeing = self._agreeing + 1 if follows else 1
        self._other = seen
        outage = MAX_STEP_S < seen.time - last.time <= OUTAGE_S
        return self._agreeing >= (RESYNC_COUNT if outage else AGREEING)

    def _impossible(self, seen: _Seen) -> str | None:
        """Fault in a sample on its own."""
        if not isfinite(seen.time):
            return "time is not finite"
        for value, fastest in zip(seen.v, self._fastest, strict=True):
            if not -fastest <= value <= fastest:
                return f"state is not usable: a velocity of {value:g}, allowed ±{fastest:g}"
        for value, lower, upper in zip(seen.q[: self._place], self._lower, self._upper, strict=False):
            if not lower <= value <= upper:
                return f"state is not usable: a position of {value:g}, allowed {lower:g} … {upper:g}"
        if self._attitude is not None:
            w, x, y, z = seen.q[self._attitude]
            squared = w * w + x * x + y * y + z * z
            if not _NORM_SQUARED[0] <= squared <= _NORM_SQUARED[1]:
                return f"state is not usable: a quaternion of norm {squared**0.5:.3g}, allowed 1 ± {NORM_TOLERANCE}"
        return None

    def _does_not_follow(self, last: _Seen, seen: _Seen) -> str | None:
        elapsed_s = seen.time - last.time
        if elapsed_s < SHORTEST_S:
            return f"time {seen.time:.6g} s is not later than the last one, {last.time:.6g} s"
        if elapsed_s > MAX_STEP_S:
            return f"time leaps by {elapsed_s:.3g} s, allowed {MAX_STEP_S} s"
        leaps = self._any_leaps if self._attitude is None else self._base_leaps
        return "state is not usable: the position leaps" if leaps(last, seen, elapsed_s) else None

    def _any_leaps(self, last: _Seen, seen: _Seen, elapsed_s: float) -> bool:
        time_s = elapsed_s + JUMP_S
        for then, now, speed, v_then, v_now in zip(last.q, seen.q, self._speed, last.v, seen.v, strict=True):
            moved = abs(now - then)
            if moved > speed * time_s and moved > max(abs(v_then), abs(v_now)) * time_s:
                return True
        return False

    def _base_leaps(self, last: _Seen, seen: _Seen, elapsed_s: float) -> bool:
        allowed_m = JUMP_M + 0.5 * JUMP_M_S2 * elapsed_s**2
        off_m = [seen.q[i] - last.q[i] - elapsed_s * last.v[i] for i in range(self._place)]
        return sum(x * x for x in off_m) > allowed_m**2


def number(name: str, value: Any) -> float:
    """Convert a real number to float. Raises SignalError."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise SignalError(f"{name}: must be a real number; given: {_words(value)}")
    return float(value)


def vector(name: str, value: Any, size: int) -> Array:
    """Convert to an array (size,) of float64, without a copy if it is one. Raises SignalError."""
    if type(value) is np.ndarray and value.shape == (size,):
        if value.dtype == np.float64:
            return value
        if value.dtype.kind in "iuf":
            return value.astype(np.float64)
    raise SignalError(f"{name}: must be a numpy array of real numbers, shape ({size},); given: {_words(value)}")


def _words(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape}, dtype {value.dtype}"
    return f"{type(value).__name__} {str(value)[:60]!r}"
