# SPDX-License-Identifier: Apache-2.0
"""Detects a wrong heading from the directions of horizontal motion, and rotates the state back.

Horizontal vectors are complex numbers. Over windows of `WINDOW_S`, two pairs of changes must agree:

    change of position     P = p2 - p1       and    V = ∫v dt
    change of velocity     M = v2 - v1       and    A = ∫R f dt        f: specific force (accelerometer)

The turn from the second to the first of a pair is the phase of c = Σ V* P / Σ |V|² (least squares), with the standard
deviation σ / √(2 Σ |V|²) / |c|, σ the residual's. External forces are contained in f and do not affect the turn. A turn
of the first pair is an error of velocity and attitude (a twist in the body frame, turned by the wrong heading); a turn
of the second pair, after that of the first, is an error of the attitude alone.

An odometry that corrects its own heading makes the yaw jump without a gyro rate. The turn in use then changes by the
same angle, back to zero.
"""

from __future__ import annotations

import cmath
import math

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.signals import State

Array = NDArray[np.float64]

WINDOW_S, MEMORY_S = 0.1, 1.5
LONGEST_S = 0.1
"""Samples farther apart are not compared."""
LEAST_RAD, MOST_STD_RAD, SIGMAS = 0.35, 0.15, 5.0
"""A turn is used above LEAST_RAD and SIGMAS standard deviations, if its standard deviation is below MOST_STD_RAD."""
GAINS = (0.5, 1.6)
"""Range of |c| that is consistent with a turn."""
FEWEST = 6
"""Windows before the first decision."""
LEAST_MOVED_M, LEAST_PUSHED_M_S = 0.008, 0.04
"""Root mean square of V and A below which nothing is decided: noise alone."""
SUPPORT_M_S2 = 3.0
"""Least upward specific force: an accelerometer that measures less is wrong (never filled in, in g, upside down)."""
LEAP_RAD = 0.2
"""A yaw that jumps by more within one sample, against the gyro, is a correction; a smaller turn counts as zero."""


class Turn:
    """Turn from one sequence of complex numbers to another; `least`: root mean square of the other."""

    def __init__(self, least: float) -> None:
        self._least = least
        self.forget()

    def forget(self) -> None:
        self._product, self._given, self._target, self._count = 0j, 0.0, 0.0, 0.0

    def update(self, target: complex, given: complex, keep: float) -> float:
        """Take a pair, after earlier pairs lost the share 1 - keep; returns the turn [rad], 0 while it is unknown."""
        if not (cmath.isfinite(target) and cmath.isfinite(given)):
            return 0.0
        self._product = keep * self._product + given.conjugate() * target
        self._given = keep * self._given + abs(given) ** 2
        self._target = keep * self._target + abs(target) ** 2
        self._count = keep * self._count + 1.0
        if self._count < FEWEST or self._given < self._least**2 * self._count:
            return 0.0
        gain = abs(self._product) / self._given
        if not GAINS[0] < gain < GAINS[1]:
            return 0.0
        left = max(self._target - abs(self._product) ** 2 / self._given, 0.0) / (self._count - 1.0)
        std, turn = math.sqrt(0.5 * left / self._given) / gain, cmath.phase(self._product)
        return turn if abs(turn) > max(LEAST_RAD, SIGMAS * std) and std < MOST_STD_RAD else 0.0


class Heading:
    """Error of the heading, and the state without it; see the module's docstring.

    moved_rad: turn of velocity and attitude in use. faced_rad: turn of the attitude alone.
    """

    def __init__(self) -> None:
        self.moved_rad = self.faced_rad = 0.0
        self._moved, self._faced = Turn(LEAST_MOVED_M), Turn(LEAST_PUSHED_M_S)
        self._yaw: float | None = None
        self._begin(None)

    @property
    def problem(self) -> str:
        """The error and its consequence; empty where there is none."""
        turn = self.moved_rad + self.faced_rad
        if self.moved_rad == self.faced_rad == 0.0:
            return ""
        against = "the positions" if self.moved_rad else "the accelerometer"
        if not self.faced_rad or abs(turn) > LEAP_RAD:
            return f"heading: wrong by {-math.degrees(turn):.0f}° by {against}; land and correct it. It is turned back"
        return f"velocity: turned by {-math.degrees(self.moved_rad):.0f}° against the positions. It is turned back"

    def update(self, state: State, force: Array | None, dt: float) -> State:
        """Take a state and its specific force without bias, dt [s] after the last; returns it turned back."""
        self._leap(state, dt)
        turned = self._turned(state)
        if self._from is None or not 0.0 < dt <= LONGEST_S:
            self._begin(turned)
            return turned
        self._gone += dt * _planar(turned.v)
        self._pushed += dt * _pushed(turned.q, force)
        self._elapsed_s += dt
        if self._elapsed_s >= WINDOW_S - 1e-9:
            self._judge(turned)
            turned = self._turned(state)
            self._begin(turned)
        return turned

    def _begin(self, state: State | None) -> None:
        self._from, self._gone, self._pushed, self._elapsed_s = state, 0j, 0j, 0.0

    def _judge(self, now: State) -> None:
        assert self._from is not None
        keep = math.exp(-self._elapsed_s / MEMORY_S)
        moved = self._moved.update(_planar(now.q) - _planar(self._from.q), self._gone, keep)
        faced = self._faced.update(_planar(now.v) - _planar(self._from.v), self._pushed, keep)
        if moved:
            self._change(self.moved_rad + moved, self.faced_rad)
        elif faced:
            self._change(self.moved_rad, self.faced_rad + faced)

    def _change(self, moved_rad: float, faced_rad: float) -> None:
        """Use other turns from now on."""
        self.moved_rad, self.faced_rad = _kept(moved_rad), _kept(faced_rad)
        self._moved.forget()
        self._faced.forget()

    def _leap(self, state: State, dt: float) -> None:
        """Process a jump of the yaw that corrects the heading."""
        last, self._yaw = self._yaw, _yaw(state)
        if last is None or not (self.moved_rad or self.faced_rad) or not 0.0 < dt <= LONGEST_S:
            return
        leap = math.remainder(self._yaw - last - dt * float(state.v[5]), math.tau)
        if abs(leap) > LEAP_RAD:
            of_both = leap if self.moved_rad else 0.0
            self._change(self.moved_rad - of_both, self.faced_rad - (leap - of_both))
            self._begin(None)

    def _turned(self, state: State) -> State:
        if not (self.moved_rad or self.faced_rad):
            return state
        q, v = state.q.copy(), state.v.copy()
        half = 0.5 * (self.moved_rad + self.faced_rad)
        c, s = math.cos(half), math.sin(half)
        w, x, y, z = q[3:]
        q[3:] = c * w - s * z, c * x - s * y, c * y + s * x, c * z + s * w
        planar = _planar(v) * cmath.exp(1j * self.moved_rad)
        v[0], v[1] = planar.real, planar.imag
        return State(q, v, state.specific_force)


def _kept(turn_rad: float) -> float:
    """The turn within half a turn; 0 if it is small."""
    turn_rad = math.remainder(turn_rad, math.tau)
    return turn_rad if abs(turn_rad) > LEAP_RAD else 0.0


def _planar(vector: Array) -> complex:
    return complex(vector[0], vector[1])


def _pushed(q: Array, force: Array | None) -> complex:
    """Horizontal part of R f [m/s²]; not a number without an accelerometer, or if it measures no support."""
    if force is None:
        return complex(math.nan)
    w, x, y, z = q[3:].tolist()
    fx, fy, fz = force.tolist()
    if not 2.0 * (x * z - w * y) * fx + 2.0 * (y * z + w * x) * fy + (1.0 - 2.0 * (x * x + y * y)) * fz > SUPPORT_M_S2:
        return complex(math.nan)
    return complex(
        (1.0 - 2.0 * (y * y + z * z)) * fx + 2.0 * (x * y - w * z) * fy + 2.0 * (x * z + w * y) * fz,
        2.0 * (x * y + w * z) * fx + (1.0 - 2.0 * (x * x + z * z)) * fy + 2.0 * (y * z - w * x) * fz,
    )


def _yaw(state: State) -> float:
    w, x, y, z = state.q[3:].tolist()
    return math.atan2(2.0 * (w * z + x * y), 1.0 - 2.0 * (y * y + z * z))
