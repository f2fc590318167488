# SPDX-License-Identifier: Apache-2.0
"""Guard of the factory's adapters: unusable samples do not reach them.

A wrong shape or type raises SignalError before anything changes. A sample with a wrong value is skipped: the adapter
and its context stay as they are, and `status` and `message` give the reason. Wrong values are those of sample_check.py,
an effort that is not finite or is beyond its limits by more than `EFFORTS` times their span, and a dt that is not
positive, not finite or above MAX_STEP_S. The next good sample also covers the time of the skipped ones, with the mean
effort over that time.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.base import Adapter
from metarl_robot.adaptation.wrapped import WrappedAdapter
from metarl_robot.core.robot import Robot
from metarl_robot.core.signals import EMPTY_CONTEXT, Context, State, Status
from metarl_robot.safety.input_validation import MAX_STEP_S
from metarl_robot.safety.sample_check import SampleCheck, number, vector

Array = NDArray[np.float64]

EFFORTS = 10.0


class GuardedAdapter(WrappedAdapter[Adapter]):
    """Adapter with input checks; other attributes are those of the adapter `inner`.

    status: SOLVED, or DEGRADED after a sample that was left out. message: the reason.
    """

    def __init__(self, robot: Robot, inner: Adapter) -> None:
        self.inner = inner
        self._check, self._nu = SampleCheck(robot), robot.nu
        span = robot.effort_limit - robot.effort_lower
        self._least = (robot.effort_lower - EFFORTS * span).tolist()
        self._most = (robot.effort_limit + EFFORTS * span).tolist()
        self._context: Context = EMPTY_CONTEXT
        self._time_s = self._left_out_s = 0.0
        self._effort = np.zeros(robot.nu)  # the last valid one
        self._forget()

    def reset(self) -> None:
        self.inner.reset()
        self._check.reset()
        self._forget()

    def update(self, state: State, effort: Array, dt: float) -> Context:
        if type(dt) is not float:
            dt = number("dt", dt)
        effort = vector("effort", effort, self._nu)
        _, state = self._check.typed(0.0, state)
        problem = self._problem(state, effort, dt)
        self.status, self.message = Status.DEGRADED if problem else Status.SOLVED, problem or ""
        if problem is None:
            if self._left_out_s > 0.0:
                effort, dt = self._with_left_out(effort, dt)
            self._context = self.inner.update(state, effort, dt)
        return self._context

    def _forget(self) -> None:
        self._context = EMPTY_CONTEXT
        self._time_s = self._left_out_s = 0.0
        self._impulse = np.zeros(self._nu)  # of the efforts left out
        self.status, self.message = Status.SOLVED, ""

    def _problem(self, state: State, effort: Array, dt: float) -> str | None:
        """Reason for leaving out a sample, or None.

        The time and effort of a sample left out are kept where they are valid.
        """
        if not 0.0 < dt <= MAX_STEP_S:
            return f"dt is {dt:g} s, allowed above 0 and up to {MAX_STEP_S} s"
        self._time_s += dt
        values = zip(effort.tolist(), self._least, self._most, strict=True)
        within = all(least <= value <= most for value, least, most in values)
        problem = self._check.problem(self._time_s, state)
        if within:
            self._effort = effort
        else:
            problem = "effort is not finite, or far beyond its limits"
        if problem is not None:
            self._left_out_s += dt
            self._impulse = self._impulse + dt * self._effort
        return problem

    def _with_left_out(self, effort: Array, dt: float) -> tuple[Array, float]:
        """Mean effort and time since the last sample that was used."""
        whole_s = self._left_out_s + dt
        mean = (self._impulse + dt * effort) / whole_s
        self._left_out_s, self._impulse = 0.0, np.zeros(self._nu)
        return mean, whole_s
