# SPDX-License-Identifier: Apache-2.0
"""Bumpless transfer between controllers in motion.

For LEARN_S the new controller runs in parallel with the old one without acting. It receives the acting effort: its
adapter learns its context, and its integral follows (tracking; Åström, Hägglund 2006, section 3.5). Then it acts. If
the adapters are alike, the new one goes on from the model of the old one. The difference between the first effort u₀
and that of the old controller at the same state is added and fades out:

    u(t) = u_new(t) + w(t) (u_old − u₀),       w = 1 − 10 s³ + 15 s⁴ − 6 s⁵,  s = (t − t₀) / T

Effort and its rate are continuous, and the sum keeps the robot's effort limits and rate. After T only the new
controller acts. An adapter receives the sum. Where each coordinate has an actuator, the tracking error of the old
controller also fades within T: the new controller follows a reference that begins at the present position and velocity
and converges to the wanted one. For other robots the reference stays unchanged: a vehicle cannot move sideways, and a
path from its place to where it should be by now cuts the corners.

If another source acted before (the gate, during a stop), the new controller acts at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.last_learned import continued
from metarl_robot.control.base import Controller
from metarl_robot.control.effort_limits import EffortLimiter
from metarl_robot.core.robot import Robot
from metarl_robot.core.signals import Command, Constraint, Reference, Setpoints, State, constraints_of

Array = NDArray[np.float64]

LEARN_S = 0.1
"""Time in which an adapter learns its context during motion."""
FADE_S = 0.5
RECENT = 10
"""Number of samples from which the present velocity and acceleration are computed.

With two, the noise of velocities made an acceleration, and the arm swung out by 3 mrad where it knew its payload.
"""


class _Approach:
    """A reference that begins at the present position and velocity and converges to another reference.

    Arguments:
        start_s, duration_s: start and duration of the convergence.
        off: (3, n) initial position, velocity and acceleration, relative to the other reference.
    """

    def __init__(self, start_s: float, duration_s: float, off: Array) -> None:
        self._start_s, self._duration_s, self._off = start_s, duration_s, bool(off.any())
        scaled = off * duration_s ** np.arange(3)[:, None] / np.array([1.0, 1.0, 2.0])[:, None]
        self._coefficients = np.concatenate([scaled, _TO_ZERO @ scaled])  # (6, n) of powers of time over duration

    def to(self, reference: Reference) -> Reference:
        """Set the reference to converge to, and return the combined one."""
        self._reference = reference
        return self if self._off else reference

    def sample(self, times: Array) -> Setpoints:
        r = np.clip((times - self._start_s) / self._duration_s, 0.0, 1.0)[:, None]
        off, there = [], self._reference.sample(times)
        for order in range(3):
            off.append(_powers(r, order) @ self._coefficients / self._duration_s**order)
        return Setpoints(there.q + off[0], there.v + off[1], there.a + off[2])

    @property
    def constraints(self) -> tuple[Constraint, ...]:
        return constraints_of(self._reference)


def _line(values: Sequence[tuple[float, Array]]) -> Array:
    """Value and slope (2, n) at the last of some times, of the line through values (n,) with the least squares."""
    times = np.array([time for time, _ in values]) - values[-1][0]
    design = np.stack([np.ones(len(times)), times], axis=1)
    return np.asarray(np.linalg.lstsq(design, np.array([value for _, value in values]), rcond=None)[0])


def _powers(r: Array, order: int) -> Array:
    """Derivatives (N, 6) of r⁰ … r⁵ for r (N, 1)."""
    k = np.arange(6)
    factor = np.prod([k - i for i in range(order)], axis=0) if order else np.ones(6)
    return np.asarray(factor * r ** np.maximum(k - order, 0))


# Coefficients of r³, r⁴, r⁵ from those of 1, r, r², such that value, slope and curvature are zero at r = 1.
_END = np.stack([_powers(np.ones((1, 1)), order)[0] for order in range(3)])
_TO_ZERO = -np.linalg.solve(_END[:, 3:], _END[:, :3])


class BumplessTransfer:
    """A Controller that can exchange its inner controller in motion.

    Arguments:
        robot: gives the effort limits and rate for the sum.
        controller: the first controller.
        fade_s: T above.
    """

    def __init__(self, robot: Robot, controller: Controller, fade_s: float = FADE_S) -> None:
        self._limiter = EffortLimiter(robot)
        self._fade_s, self._approaches = fade_s, robot.attitude is None and robot.nu == robot.dof
        self.controller = controller
        self.reset()

    def reset(self) -> None:
        """Restart the present controller, without a fade."""
        self.controller.reset()
        self._limiter.reset()
        self._last: Array | None = None
        self._take_over_from: Array | None = None
        self._offset: Array | None = None
        self._start_s = 0.0
        self._next: Controller | None = None
        self._next_since_s: float | None = None
        self._approach: _Approach | None = None

    def switch(self, controller: Controller) -> None:
        """Let another controller take over LEARN_S after the next step.

        It replaces a controller that still waits to take over.
        """
        if self._last is None:
            self.take_over(None, controller)
            return
        controller.reset()
        self._next, self._next_since_s = controller, None
        self._recent: deque[tuple[float, Array]] = deque(maxlen=RECENT)  # time, velocity relative to the reference

    def take_over(self, effort: Array | None, controller: Controller | None = None) -> None:
        """Restart from an effort (n,) that another source applies now; None: without a fade."""
        self.controller = controller or self._next or self.controller
        self.controller.reset()
        self._next, self._approach = None, None
        self._limiter.reset()
        self._limiter.reset(effort)
        self._take_over_from, self._offset = effort, None

    def acted(self, effort: Array) -> None:
        """Report that this effort (n,) acted instead of the last command: the gate's, while it stops the robot.

        A controller that learns from its commands also has a method `acted`. Learning from commands that did not act
        would give a wrong context.
        """
        self._limiter.reset(effort)
        for controller in (self.controller, self._next):
            _tell(controller, "acted", effort)

    def flown(self, effort: Array) -> None:
        """Report that a driver's own loop applied this effort (n,) since the last step, for learning only."""
        for controller in (self.controller, self._next):
            _tell(controller, "flown", effort)

    def step(self, time: float, state: State, reference: Reference) -> Command:
        """One step of the present controller, plus the rest of the fade."""
        if self._next is not None:
            self._promote_when_learned(time, state, reference)
        command = self.controller.step(
            time, state, reference if self._approach is None else self._approach.to(reference)
        )
        if self._take_over_from is not None:
            self._offset, self._start_s, self._take_over_from = self._take_over_from - command.effort, time, None
        command = replace(command, effort=command.effort + self._rest_of_fade(time))
        self._limiter.at(time)
        command = replace(command, effort=self._limiter.apply(command.effort))
        self._last = command.effort
        if self._approach is not None:
            _tell(self.controller, "observed", command.effort)
        if time - self._start_s > self._fade_s:
            self._offset, self._approach = None, None
        if self._next is not None:
            self._let_learn(self._next, time, state, reference, command.effort)
        return command

    def _promote_when_learned(self, time: float, state: State, reference: Reference) -> None:
        """Make the new controller act after it has learned for LEARN_S."""
        self._next_since_s = time if self._next_since_s is None else self._next_since_s
        if self._next is not None and time - self._next_since_s >= LEARN_S - 1e-9:
            followed = reference if self._approach is None else self._approach.to(reference)
            earlier, self.controller, self._next = self.controller, self._next, None
            self._take_over_from = earlier.step(time, state, followed).effort + self._rest_of_fade(time)
            self._offset = None
            _hand_over(earlier, self.controller)
            self._approach = self._approach_from(time, state, reference)

    def _let_learn(
        self, controller: Controller, time: float, state: State, reference: Reference, effort: Array
    ) -> None:
        """Step a controller that does not act, and report the acting effort to it."""
        controller.step(time, state, self._approach_from(time, state, reference).to(reference))
        for word in ("observed", "follow"):
            _tell(controller, word, effort)

    def _approach_from(self, time: float, state: State, reference: Reference) -> _Approach:
        """Convergence from the present motion to the reference; that itself where actuators are fewer."""
        target = reference.sample(np.array([time]))
        off = np.zeros((3, len(state.v)))
        if self._approaches:
            self._recent.append((time, state.v - target.v[0]))
            off[0], off[1:] = state.q - target.q[0], _line(self._recent)
        return _Approach(time, self._fade_s, off)

    def _rest_of_fade(self, time: float) -> Array | float:
        return 0.0 if self._offset is None else self._weight(time) * self._offset

    def _weight(self, time: float) -> float:
        s = min(max((time - self._start_s) / self._fade_s, 0.0), 1.0)
        return 1.0 - s**3 * (10.0 - 15.0 * s + 6.0 * s**2)


def _hand_over(earlier: Controller, controller: Controller) -> None:
    """Let the adapter of a controller go on from the other's model, where they are alike."""
    adapter, other = (getattr(each, "adapter", None) for each in (controller, earlier))
    if adapter is not None and other is not None:
        continued(adapter, other)


def _tell(controller: Controller | None, word: str, effort: Array) -> None:
    """Report an acting effort to a controller through its method `word`, if it has one."""
    tell = getattr(controller, word, None)
    if tell is not None:
        tell(effort)
