# SPDX-License-Identifier: Apache-2.0
"""Checks that a quadrotor's position, velocity and accelerometer agree; faults are reported, and corrected if possible.

Samples are compared with numbers, which takes a third of the time of arrays of size 3.

Velocity. Over windows of `WINDOW_S`, the change of position is compared with the mean velocity as given, and with the
velocity rotated by the attitude or its inverse. If one of the latter fits far better, the velocity is in the wrong
frame (such as an odometry's twist in the world frame). It is rotated, and the message reports it.

Accelerometer. With attitude R and gravity g, the specific force f must give the change of velocity:

    b = mean of  f - Rᵀ(dv/dt - g)

External forces change both equally. A small b is a bias; it is subtracted. With a large one (`MOST_BIAS_M_S2`) the
accelerometer is not used: it was never filled in, is in units of g, or has the wrong sign. At rest and upright, the
first sample already shows it. Noise of the velocity telescopes in the mean.

Heading. See heading.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarl_robot.control.base import Controller
from metarl_robot.core import rotation
from metarl_robot.core.signals import Command, Reference, State, Status
from metarl_robot.robots.quadrotor.description import GRAVITY_M_S2
from metarl_robot.robots.quadrotor.heading import Heading

Array = NDArray[np.float64]
Rows = tuple[rotation.Vector, rotation.Vector, rotation.Vector]

MOST_BIAS_M_S2 = 4.0
BIAS_MEMORY_S, PRIOR_S = 5.0, 0.3
"""Averaging time of the bias, and the weight of a zero bias at the start, as a time."""
QUICK_S = 0.3
"""Averaging time of the decision whether the accelerometer is used."""
AT_REST = (0.1, 0.2, 0.5)
"""Velocity [m/s], body rate [rad/s] and tilt [rad] below which a quadrotor is at rest and upright."""
LONGEST_S = 0.1
"""Samples farther apart are not compared."""
WINDOW_S, FRAME_MEMORY_S = 0.1, 0.4
BETTER, LEAST_M = 16.0, 0.015
"""A frame fits better if its mean squared error is BETTER times smaller, by LEAST_M² at least."""
CAUSES = (
    (0.0, 0.4, "it is never filled in"),
    (1.0 / GRAVITY_M_S2, 0.5, "it is in g"),
    (-1.0, 3.0, "its sign is wrong"),
)
"""Factor on the correct measurement, tolerance [m/s²], cause."""
_GRAVITY = np.array([0.0, 0.0, GRAVITY_M_S2])
FRAMES = (
    "",
    "velocity: fits the positions only if it is in the world frame already: does the driver fill in the odometry's "
    "twist in the world frame instead of the child frame? It is turned back",
    "velocity: fits the positions only if it is in the body frame: it must be given in the world frame. It is turned",
)


class VelocityFrame:
    """Finds the frame of the velocity: index of FRAMES."""

    def __init__(self) -> None:
        self.frame = 0
        self._squares = np.zeros(3)
        self._begin(None)

    def _begin(self, position: Array | None) -> None:
        self._from, self._moved, self._elapsed_s = position, [0.0] * 9, 0.0

    def update(self, state: State, dt: float) -> None:
        """Process a state, dt [s] after the last."""
        if self._from is None or not 0.0 < dt <= LONGEST_S:
            self._begin(state.q[:3])
            return
        r, v = rotation.rows(state.q[3:]), state.v[:3].tolist()
        velocities = (*v, *_turned_back(r, v), *_turned(r, v))
        self._moved = [moved + dt * speed for moved, speed in zip(self._moved, velocities, strict=True)]
        self._elapsed_s += dt
        if self._elapsed_s >= WINDOW_S - 1e-9:
            self._judge(state.q[:3] - self._from)
            self._begin(state.q[:3])

    def _judge(self, moved: Array) -> None:
        share = 1.0 - np.exp(-self._elapsed_s / FRAME_MEMORY_S)
        self._squares += share * (np.square(moved - np.reshape(self._moved, (3, 3))).sum(axis=1) - self._squares)
        best = int(np.argmin(self._squares))
        if self._squares[self.frame] > BETTER * self._squares[best] + LEAST_M**2:
            self.frame = best


def _candidates(state: State) -> Array:
    """Velocity (3, 3) as given, turned back by the attitude, and turned by it."""
    q, v = state.q[3:], state.v[:3]
    return np.stack([v, rotation.rotate_back(q, v), rotation.rotate(q, v)])


class Accelerometer:
    """Bias of the accelerometer, and whether it is used. problem: the reason if not, else empty."""

    def __init__(self) -> None:
        self.bias, self._quick = np.zeros(3), [0.0] * 3
        self._known_s = 0.0
        self._last_v: list[float] | None = None
        self.problem = ""

    def update(self, state: State, force: Array, dt: float) -> None:
        """Process a state and its specific force (3,), dt [s] after the last."""
        before, self._last_v = self._last_v, state.v[:3].tolist()
        if before is None:
            self._first(state, force)
        elif 0.0 < dt <= LONGEST_S:
            self._compare([(now - then) / dt for now, then in zip(self._last_v, before, strict=True)], state, force, dt)

    def _compare(self, acceleration: list[float], state: State, force: Array, dt: float) -> None:
        x, y, z = acceleration
        expected = _turned_back(rotation.rows(state.q[3:]), (x, y, z + GRAVITY_M_S2))
        off = [measured - due for measured, due in zip(force.tolist(), expected, strict=True)]
        self._known_s += dt
        self.bias = np.array(_averaged(self.bias.tolist(), off, dt / min(self._known_s + PRIOR_S, BIAS_MEMORY_S)))
        self._quick = _averaged(self._quick, off, dt / max(min(self._known_s, QUICK_S), dt))
        if self._known_s >= QUICK_S:
            self._judge(state, self._quick)

    def _first(self, state: State, force: Array) -> None:
        speed, rate = float(np.linalg.norm(state.v[:3])), float(np.linalg.norm(state.v[3:]))
        if speed < AT_REST[0] and rate < AT_REST[1] and float(rotation.tilt(state.q[3:])) < AT_REST[2]:
            self._judge(state, (force - rotation.rotate_back(state.q[3:], _GRAVITY)).tolist())

    def _judge(self, state: State, off: list[float]) -> None:
        x, y, z = off
        size = math.sqrt(x * x + y * y + z * z)
        if size > MOST_BIAS_M_S2:
            self.problem = self.problem or _named(np.array(off), rotation.rotate_back(state.q[3:], _GRAVITY))
        elif size < 0.5 * MOST_BIAS_M_S2:
            self.problem = ""


def _turned(r: Rows, v: Sequence[float]) -> tuple[float, float, float]:
    """R v (3,)."""
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = r
    x, y, z = v
    return xx * x + xy * y + xz * z, yx * x + yy * y + yz * z, zx * x + zy * y + zz * z


def _turned_back(r: Rows, v: Sequence[float]) -> tuple[float, float, float]:
    """Rᵀ v (3,)."""
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = r
    x, y, z = v
    return xx * x + yx * y + zx * z, xy * x + yy * y + zy * z, xz * x + yz * y + zz * z


def _averaged(mean: list[float], value: list[float], share: float) -> list[float]:
    """A mean (3,) with its share of a new value (3,)."""
    return [before + share * (now - before) for before, now in zip(mean, value, strict=True)]


def _finite(vector: Array) -> bool:
    """Whether every number is finite; tested by their sum, which differs only on overflow."""
    return math.isfinite(sum(vector.tolist()))


def _named(off: Array, expected: Array) -> str:
    """Name the fault of an accelerometer that should measure about `expected` (3,) [m/s²; body]."""
    measured = expected + off
    text = ", ".join(f"{value:.1f}" for value in measured)
    found = f"accelerometer: measures ({text}) m/s² where ({', '.join(f'{value:.1f}' for value in expected)}) is due"
    for factor, within, why in CAUSES:
        if float(np.linalg.norm(measured - factor * expected)) < within:
            return f"{found}: {why}. It is not used"
    return f"{found}. It is not used"


class ConsistentState:
    """Controller with a check of its states; other attributes are those of the controller `checked`.

    also: a further problem of the states, found by the controller itself.
    """

    __slots__ = ("_accelerometer", "_also", "_frame", "_heading", "_time_s", "checked")

    def __init__(self, checked: Controller, also: Callable[[], str] = str) -> None:
        self.checked, self._also = checked, also
        self._forget()

    def __getattr__(self, name: str) -> Any:
        if name == "checked":  # not set yet while being copied or unpickled
            raise AttributeError(name)
        return getattr(self.checked, name)

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self if name in self.__slots__ else self.checked, name, value)

    def reset(self) -> None:
        self.checked.reset()
        self._forget()

    def _forget(self) -> None:
        self._frame, self._accelerometer, self._heading = VelocityFrame(), Accelerometer(), Heading()
        self._time_s: float | None = None

    def step(self, time: float, state: State, reference: Reference) -> Command:
        used, problem = self._consistent(time, state)
        command = self.checked.step(time, used, reference)
        problem = problem or self._also()
        if not problem or command.status is not Status.SOLVED:
            return command
        return replace(command, status=Status.DEGRADED, message=problem)

    def _facing(self, state: State, dt: float) -> tuple[State, str]:
        """The state with the right heading, and the fault of heading or velocity."""
        force, known = state.specific_force, self._accelerometer
        if force is not None and not known.problem and _finite(force):
            force = force - known.bias
        return self._heading.update(state, force, dt), self._heading.problem or FRAMES[self._frame.frame]

    def _consistent(self, time: float, state: State) -> tuple[State, str]:
        """The state to use, and the fault of the measured one."""
        if not (_finite(state.q) and _finite(state.v)):
            return state, ""
        dt = np.inf if self._time_s is None else time - self._time_s
        self._time_s = time
        frame = self._frame.frame
        self._frame.update(state, dt)
        if self._frame.frame != frame:
            self._heading = Heading()  # the velocities that it compared were others
        if self._frame.frame:
            v = np.concatenate([_candidates(state)[self._frame.frame], state.v[3:]])
            state = State(state.q, v, state.specific_force)
        state, problem = self._facing(state, dt)
        force = state.specific_force
        if force is None or not _finite(force):
            return state, problem
        self._accelerometer.update(state, force, dt)
        if self._accelerometer.problem:
            return State(state.q, state.v), problem or self._accelerometer.problem
        return State(state.q, state.v, force - self._accelerometer.bias), problem
