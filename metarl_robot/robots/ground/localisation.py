# SPDX-License-Identifier: Apache-2.0
"""Poses of a localiser correct the drift of wheel odometry.

Odometry is smooth and drifts; a localiser's poses (20 to 50 Hz, late, noisy) do not drift. With the odometry o(t) and
a pose z of the time s, the pose at the time t > s is

    z ∘ o(s)⁻¹ ∘ o(t)

The difference between this and the corrected pose c(t) fades with the time constant `correction_s`, so that noise of
the localiser does not look like motion. It is taken at the vehicle: an error of the yaw turns the vehicle on the spot.

The first pose may be older than the odometry: localisers send none while the robot stands.

Jumps follow the rules of states (safety/input_validation.py). A pose further than JUMP_M or JUMP_RAD from the one that
odometry extrapolates is refused, until RELOCATED_COUNT poses agree with each other; the corrected pose then jumps.
"""

from __future__ import annotations

from collections import deque
from math import inf, pi

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.signals import State
from metarl_robot.safety.input_validation import JUMP_M, RELOCATED_COUNT, LeapFilter, StampFilter
from metarl_robot.safety.refusals import Refusals, Rejection

Array = NDArray[np.float64]

CORRECTION_S = 0.3
"""Default of `correction_s`."""
JUMP_RAD = 0.3
KEPT_S = 1.0
"""Odometry is kept this long; a pose that is later is refused."""
_MOST_KEPT = 1000
_JUMPED = (
    f"localiser: poses jump by more than {JUMP_M:g} m or {JUMP_RAD:g} rad from those that odometry predicts; "
    f"a jump is followed after {RELOCATED_COUNT} poses that agree"
)


class Localisation:
    """Corrected poses (3,): x, y [m; world], yaw [rad], from odometry's and the localiser's.

    correction_s: time constant with which differences fade [s]. refusals: of the localiser's poses. accepted: number of
    those in use so far; relocations: of jumps that were followed.
    """

    def __init__(self, correction_s: float) -> None:
        self._correction_s, self.refusals = correction_s, Refusals()
        self.accepted = self.relocations = 0
        self._restart()

    def _restart(self) -> None:
        self._kept: deque[tuple[float, Array]] = deque(maxlen=_MOST_KEPT)
        self._stamps, self._leaps = StampFilter(inf), LeapFilter(_follows)
        self._followed = 0  # of the filter's relocations
        self._waiting: tuple[float, Array] | None = None
        self._wanted: Array | None = None  # pose of odometry's origin in the world, by the last pose
        self._used: Array | None = None  # that in use

    def odometry(self, stamp_s: float, pose: Array) -> Array | None:
        """Take an odometry's finite pose (3,) [odom]; returns the corrected one; None before the first pose.

        The pose may be one that was taken before. After a time base far before the last one, poses are awaited anew.
        """
        if self._kept and stamp_s < self._kept[-1][0] - KEPT_S:
            self._restart()
        if not self._kept or stamp_s > self._kept[-1][0]:
            elapsed_s = stamp_s - self._kept[-1][0] if self._kept else 0.0
            self._kept.append((stamp_s, pose.copy()))
            while stamp_s - self._kept[0][0] > KEPT_S:
                self._kept.popleft()
            self._take_waiting()
            self._fade(pose, elapsed_s)
        return None if self._used is None else compose(self._used, pose)

    def localised(self, stamp_s: float, pose: Array) -> None:
        """Take a localiser's finite pose (3,) [world], or refuse it. One that is early waits for its odometry.

        Of poses that wait, the newest is kept.
        """
        ahead_s = stamp_s - self._kept[-1][0] if self._kept else 0.0
        if ahead_s > KEPT_S:
            self.refusals.add(Rejection.FUTURE, f"localiser: stamps are {ahead_s:.2g} s ahead of those of odometry")
        elif self._kept and ahead_s <= 0.0:
            self._take(stamp_s, pose)
        else:
            self._waiting = stamp_s, pose.copy()

    def _take(self, stamp_s: float, pose: Array) -> None:
        problem = self._judge(stamp_s, pose)
        if problem is None:
            self.refusals.good()
        else:
            self.refusals.add(*problem)

    def _judge(self, stamp_s: float, pose: Array) -> tuple[Rejection, str] | None:
        """Accept a pose, or return the reason and a text."""
        if self._used is None:
            stamp_s = max(stamp_s, self._kept[0][0])
        epoch, problem = self._stamps.epoch, self._stamps.judge(stamp_s)
        if problem is not None:
            return problem, ""
        if self._stamps.epoch != epoch:
            self._leaps.forget()
        if stamp_s < self._kept[0][0]:
            late_s = self._kept[-1][0] - stamp_s
            return Rejection.STALE, f"localiser: a pose is {late_s:.2g} s older than odometry; allowed: {KEPT_S:g} s"
        at = self._at(stamp_s)
        origin = compose(pose, inverse(at))
        if not self._leaps.check(State(np.concatenate([origin, at]), np.zeros(3)), stamp_s):
            return Rejection.POSITION_JUMPED, _JUMPED
        self._stamps.accept(stamp_s)
        self._wanted = origin
        self.accepted += 1
        if self._used is None or self._leaps.relocations != self._followed:
            self.relocations += self._used is not None
            self._used, self._followed = origin, self._leaps.relocations
        return None

    def newest(self, pose: Array) -> Array:
        """The localiser's newest pose (3,) [world], extrapolated to odometry's pose (3,) without fading."""
        assert self._wanted is not None
        return compose(self._wanted, pose)

    def _take_waiting(self) -> None:
        if self._waiting is not None and self._waiting[0] <= self._kept[-1][0]:
            waiting, self._waiting = self._waiting, None
            self._take(*waiting)

    def _at(self, stamp_s: float) -> Array:
        """Odometry's pose (3,) at a time within those kept."""
        times, poses = zip(*self._kept, strict=True)
        rows = np.array(poses)
        rows[:, 2] = np.unwrap(rows[:, 2])
        return np.array([np.interp(stamp_s, times, column) for column in rows.T])

    def _fade(self, pose: Array, elapsed_s: float) -> None:
        if self._used is None or self._wanted is None:
            return
        here, there = compose(self._used, pose), compose(self._wanted, pose)
        share = 1.0 - np.exp(-elapsed_s / self._correction_s)
        self._used = compose(here + share * _difference(there, here), inverse(pose))


def compose(first: Array, second: Array) -> Array:
    """The pose (3,) that has the pose `second` (3,) in the frame whose pose is `first` (3,)."""
    c, s = np.cos(first[2]), np.sin(first[2])
    x, y, yaw = second
    return np.array([first[0] + c * x - s * y, first[1] + s * x + c * y, first[2] + yaw])


def inverse(pose: Array) -> Array:
    """The pose (3,) whose composition with the given one is zero."""
    c, s = np.cos(pose[2]), np.sin(pose[2])
    return np.array([-c * pose[0] - s * pose[1], s * pose[0] - c * pose[1], -pose[2]])


def _difference(after: Array, before: Array) -> Array:
    """After - before (3,), with the yaw in [-π, π)."""
    moved = after - before
    moved[2] = (moved[2] + pi) % (2.0 * pi) - pi
    return np.asarray(moved)


def _follows(before: State, here: State, elapsed_s: float) -> bool:
    """Whether a pose may follow another one. q: (6,) odometry's origin in the world, and odometry's pose."""
    at = here.q[3:]
    moved = _difference(compose(here.q[:3], at), compose(before.q[:3], at))
    return bool(np.hypot(moved[0], moved[1]) <= JUMP_M and abs(moved[2]) <= JUMP_RAD)
