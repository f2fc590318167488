"""Changing the controller in motion without a jump in effort.

At the first step after a change the new controller asks for u₀ while the robot feels u_last. The difference is added and fades:

    u(t) = u_new(t) + w(t) (u_last − u₀),      w = 1 − 10 s³ + 15 s⁴ − 6 s⁵,  s = (t − t₀) / T

so effort and its rate are continuous, the sum keeps to the robot's effort limits and rate, and
after T the new controller is on its own. The difference is what the old one had learnt (an
integral, a payload), so T is also the time that the new one has to learn it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from metarl_robot.control.base import Controller
from metarl_robot.control.limits import EffortLimiter
from metarl_robot.robot import Robot
from metarl_robot.signals import Command, Reference, State

Array = NDArray[np.float64]

FADE_S = 0.3


class Handover:
    """A controller that can be exchanged; itself a Controller.

    Arguments:
        robot: its effort limits and rate hold for the sum.
        controller: the first one.
        fade_s: T above.
    """

    def __init__(self, robot: Robot, controller: Controller, fade_s: float = FADE_S) -> None:
        self._limiter = EffortLimiter(robot)
        self._fade_s = fade_s
        self.controller = controller
        self.reset()

    def reset(self) -> None:
        """Start afresh with the present controller, without a fade."""
        self.controller.reset()
        self._limiter.reset()
        self._last: Array | None = None
        self._take_over_from: Array | None = None
        self._offset: Array | None = None
        self._start_s = 0.0

    def switch(self, controller: Controller) -> None:
        """Let another controller take over at the next step."""
        self.take_over(self._last, controller)

    def take_over(self, effort: Array | None, controller: Controller | None = None) -> None:
        """Start afresh from an effort (n,) that somebody else applies now; None: without a fade."""
        self.controller = controller or self.controller
        self.controller.reset()
        self._limiter.reset()
        self._limiter.reset(effort)
        self._take_over_from, self._offset = effort, None

    def acted(self, effort: Array) -> None:
        """Not the last command but this effort (n,) has acted since: the gate's, while it stops the robot.

        A controller that learns from its commands has a method `acted`, too: believing in commands that were not passed on, it would
        learn a payload that is not there.
        """
        self._limiter.reset(effort)
        tell = getattr(self.controller, "acted", None)
        if tell is not None:
            tell(effort)

    def step(self, time: float, state: State, reference: Reference) -> Command:
        """One step of the present controller, with what is left of the fade."""
        command = self.controller.step(time, state, reference)
        if self._take_over_from is not None:
            self._offset, self._start_s, self._take_over_from = self._take_over_from - command.effort, time, None
        if self._offset is not None:
            command = replace(command, effort=command.effort + self._weight(time) * self._offset)
        self._limiter.at(time)
        command = replace(command, effort=self._limiter.apply(command.effort))
        self._last = command.effort
        return command

    def _weight(self, time: float) -> float:
        s = min(max((time - self._start_s) / self._fade_s, 0.0), 1.0)
        return 1.0 - s**3 * (10.0 - 15.0 * s + 6.0 * s**2)
