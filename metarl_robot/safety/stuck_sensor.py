# SPDX-License-Identifier: Apache-2.0
"""Detects positions that repeat bit for bit while their velocities say that the robot moves.

A driver may repeat its last sample, and the sensor of one joint may stop while the others go on. A controller that
believes such a position for 30 ms can push an arm 25 mm off its path. A position that repeats is refused when the
velocity, integrated since it last changed (over about the last `MEMORY_S`), has moved it by more than usual: by
`LEAST_M`, and by `MARGIN` times the largest such motion at the last changes. A coarse encoder and a sensor that is
slower than its driver are therefore not refused, except for the first time. A robot at rest measures zero velocity, or
noise that changes; a wrong zero of the velocity up to LEAST_M / MEMORY_S is endured.

Joints are tested one by one. Of a base, all positions and their velocities must repeat, because a localiser may be
slower than odometry.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from metarl_robot.core.coordinates import HEADING, POSE
from metarl_robot.core.robot import Robot
from metarl_robot.safety.input_validation import MAX_STEP_S

LEAST_M, MEMORY_S = 2e-3, 0.1
"""[rad, m], above the noise and resolution of usual sensors; [s]."""
MARGIN, FORGOTTEN, MOST_M = 1.5, 0.99, 0.03
"""Factor of what is usual; its decay with each change of the position; its upper bound [rad, m]."""
FROZEN = "position and velocity repeat bit for bit while the robot moves: does the driver repeat its last sample?"


class _Last(NamedTuple):
    """The last state: time [s], q and v."""

    time_s: float
    q: Sequence[float]
    v: Sequence[float]


class _Repetition:
    """Distance that a position claims to have moved while it repeats."""

    def __init__(self) -> None:
        self._claimed = self._usual = 0.0

    def ended(self) -> None:
        """Process a position that has changed."""
        self._usual = max(min(abs(self._claimed), MOST_M), FORGOTTEN * self._usual)
        self._claimed = 0.0

    def goes_on(self, moved: float, elapsed_s: float) -> bool:
        """Process a repeated position and its motion since the last state; returns whether it is wrong."""
        self._claimed = max(1.0 - elapsed_s / MEMORY_S, 0.0) * self._claimed + moved
        return abs(self._claimed) > max(LEAST_M, MARGIN * self._usual)


class StuckSensor:
    """Checks a sequence of states of one robot."""

    def __init__(self, robot: Robot) -> None:
        self._place, names = robot.position_size, robot.coordinates.q
        self._joints = () if {*POSE, HEADING}.intersection(names) else names
        self._repetitions = [_Repetition() for _ in self._joints or ("base",)]
        self._last: _Last | None = None

    def found(self, time_s: float, q: Sequence[float], v: Sequence[float]) -> str | None:
        """Process the next state, finite values; returns what is wrong with it."""
        last, self._last = self._last, _Last(time_s, q, v)
        if last is None or not 0.0 < time_s - last.time_s <= MAX_STEP_S:
            return None
        return self._joint(last, self._last) if self._joints else self._base(last, self._last)

    def _joint(self, last: _Last, now: _Last) -> str | None:
        elapsed_s, found = now.time_s - last.time_s, None
        for i, (name, repetition) in enumerate(zip(self._joints, self._repetitions, strict=True)):
            if now.q[i] != last.q[i]:
                repetition.ended()
            elif repetition.goes_on(0.5 * elapsed_s * (last.v[i] + now.v[i]), elapsed_s):
                found = f"{name} stays at {now.q[i]:g} while its velocity is {now.v[i]:g}: is its sensor stuck?"
        return FROZEN if found is not None and now.q == last.q else found

    def _base(self, last: _Last, now: _Last) -> str | None:
        (repetition,), elapsed_s, n = self._repetitions, now.time_s - last.time_s, self._place
        if now.q != last.q or now.v[:n] != last.v[:n]:
            repetition.ended()
            return None
        return FROZEN if repetition.goes_on(elapsed_s * max(map(abs, now.v[:n])), elapsed_s) else None
