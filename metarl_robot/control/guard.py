# SPDX-License-Identifier: Apache-2.0
"""Guard of the factory's controllers: unusable samples do not reach them.

A wrong shape or type raises SignalError before anything changes; a reference is checked when it is new. After a wrong
value (sample_check.py) the controller does not see the sample, and the returned command has a status. Until a good
sample comes, the command is that of the controller's `fallback(time, reason)` if it has one (which follows a plan).
Otherwise it is the last command: DEGRADED for `HOLD_S`, then FAILED. If only the time is wrong, the last command is
held for `HOLD_S`, too. On a new time base the controller restarts from the acting effort.

Implausible rates of the reference are replaced (plausible_rates.py).

Every returned effort is finite, within the limits and within the rate. An exception in the controller becomes a
FAILED command.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarl_robot.control.base import Controller
from metarl_robot.control.effort_limits import EffortLimiter
from metarl_robot.control.plausible_rates import PlausibleRates
from metarl_robot.core.errors import MetaRLError, SignalError
from metarl_robot.core.robot import Robot
from metarl_robot.core.signals import Command, Reference, State, Status
from metarl_robot.safety.sample_check import SampleCheck, vector

Array = NDArray[np.float64]

HOLD_S = 0.1


class GuardedController:
    """Controller with input checks.

    inner: the controller; its other attributes (`adapter`, `observe_truth`, …) are available here, too.
    """

    def __init__(self, robot: Robot, inner: Controller) -> None:
        self.inner = inner
        self._robot, self._check = robot, SampleCheck(robot)
        self._limiter = EffortLimiter(robot)
        self._period_s, self._nq, self._nv, self._nu = robot.control_period_s, robot.nq, robot.dof, robot.nu
        self._command: Command | None = None
        self._reference: Reference | None = None
        self._plausible: Reference
        self._time_s = self._missing_s = 0.0
        self._hold = Command(np.clip(0.0, robot.effort_lower, robot.effort_limit), Status.FAILED)
        self._forget()

    def __getattr__(self, name: str) -> Any:
        if name == "inner":  # not set yet while being copied or unpickled
            raise AttributeError(name)
        return getattr(self.inner, name)

    def reset(self) -> None:
        self.inner.reset()
        self._check.reset()
        self._limiter.reset()
        self._forget()

    def acted(self, effort: Array) -> None:
        """Report that this effort (nu,) acted since the last step, not the last command (see BumplessTransfer)."""
        effort = vector("effort", effort, self._nu)
        self._limiter.reset(effort)
        self._tell(effort)

    def step(self, time: float, state: State, reference: Reference) -> Command:
        time, state = self._check.typed(time, state)
        if not callable(getattr(reference, "sample", None)):
            raise SignalError(f"reference: must have a method sample(times); given: {type(reference).__name__}")
        problem = self._check.problem(time, state)
        if problem is not None:
            return self._without(time, problem)
        if self._check.moved:
            self._start_afresh()
        if reference is not self._reference:
            self._check_shapes(time, reference)
            self._reference, self._plausible = reference, PlausibleRates(self._robot, reference)
        try:
            command = self.inner.step(time, state, self._plausible)
        except MetaRLError:
            raise
        except Exception as error:
            return self._without(time, f"the controller failed: {type(error).__name__}: {error}")
        self._command, self._time_s, self._missing_s = self._sent(time, command), time, 0.0
        return self._command

    def _check_shapes(self, time: float, reference: Reference) -> None:
        """Check the setpoints of a new reference once. Raises SignalError; what it raises itself is met in the step."""
        try:
            setpoints = reference.sample(np.array([time, time + self._period_s]))
        except Exception:
            return
        for name, width in (("q", self._nq), ("v", self._nv), ("a", self._nv)):
            given = getattr(setpoints, name, None)
            shape = given.shape if isinstance(given, np.ndarray) else type(given).__name__
            if shape != (2, width):
                said = f"must be an array of shape (2, {width}) at two times; given: {shape}"
                raise SignalError(f"reference: sample(times).{name}: {said}")

    def _forget(self) -> None:
        self._reference = None
        self._command = None
        self._time_s = self._missing_s = 0.0

    def _tell(self, effort: Array) -> None:
        tell = getattr(self.inner, "acted", None)
        if tell is not None:
            tell(effort)

    def _start_afresh(self) -> None:
        last = self._limiter.last
        self.inner.reset()
        self._limiter.reset()
        self._limiter.reset(last)
        if last is not None:
            self._tell(last)

    def _without(self, time: float, reason: str) -> Command:
        """The command without a usable sample."""
        self._missing_s += self._period_s
        of_time, expected_s = reason.startswith("time"), self._time_s + self._missing_s
        now_s = expected_s if of_time or time < self._time_s else time
        fallback: Callable[[float, str], Command] | None = getattr(self.inner, "fallback", None)
        if fallback is None or (
            of_time and self._command is not None and self._missing_s < HOLD_S + 0.5 * self._period_s
        ):
            return self._sent(now_s, self._held(reason))
        return self._sent(now_s, fallback(now_s, reason))

    def _held(self, reason: str) -> Command:
        if self._command is None:
            return replace(self._hold, message=f"{reason}; there is no earlier command to hold")
        status = Status.DEGRADED if self._missing_s < HOLD_S + 0.5 * self._period_s else Status.FAILED
        return replace(self._command, status=status, message=f"{reason}; holding the last command")

    def _sent(self, time: float, command: Command) -> Command:
        self._limiter.at(time)
        effort = self._limiter.apply(np.asarray(command.effort, dtype=np.float64))
        return command if (effort == command.effort).all() else replace(command, effort=effort)
