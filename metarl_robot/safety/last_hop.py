# SPDX-License-Identifier: Apache-2.0
"""A watchdog at the robot's interface: it stops the robot when commands stop, even if the gate is gone.

A gate that was killed or paused (SIGKILL, SIGSTOP, a machine that hangs) sends nothing, and a driver without a
deadline keeps applying the last command. Here a command is valid for `deadline_s`. Then the fallback law of the
robot's kind (fallback_law.py) takes over: for example, the robot stops and holds, or lands and stops its motors.

Commands take over again after `RESUME_S` of commands at most `RESUME_S` apart. The transition from the law's effort
respects the effort rate. The gate decides whether the robot may then move; it latches if it was paused itself.

Pure logic for the simulated plant and for bridges to a driver. Its only clock is that of the robot's control periods.
It is also the last check of each number: a command that is not finite is refused, one beyond a limit is clipped.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.errors import SignalError
from metarl_robot.core.robot import Robot
from metarl_robot.core.signals import State
from metarl_robot.safety.fallback_law import GateConfig, law_of

Array = NDArray[np.float64]

RESUME_S = 0.05


class LastHop:
    """Watchdog for one robot; see the module's docstring.

    deadline_s: 0: none, the last command stays in force.
    clipped: number of commands beyond a limit.
    stopping: whether the law is in force. stops: number of times that it took over.
    """

    def __init__(self, robot: Robot, config: GateConfig, deadline_s: float) -> None:
        self.deadline_s = deadline_s
        self.clipped = self.stops = 0
        self.stopping = False
        self._robot, self._law = robot, law_of(robot)(robot, config)
        self._sent: Array | None = None
        self._newest: Array | None = None
        self._joining = False
        self._heard_s = self._fresh_since_s = -np.inf
        self._source: str | None = None

    def admits(self, source: str, now_s: float) -> bool:
        """Whether to accept commands of a source.

        The first source is accepted; another one after the first has been silent for the deadline.
        source: name of the sender's process; may be empty.
        """
        if self._source is None or now_s - self._heard_s > max(self.deadline_s, RESUME_S):
            self._source = source
        return source == self._source

    def accept(self, effort: Array, now_s: float) -> Array:
        """Take a command (nu,) and return it within the robot's limits.

        Raises:
            SignalError: wrong size or not finite; the command is ignored.
        """
        if effort.shape != (self._robot.nu,) or not np.isfinite(effort).all():
            raise SignalError(f"needs {self._robot.nu} finite efforts; given {effort[:20].tolist()}")
        if not 0.0 <= now_s - self._heard_s <= RESUME_S:
            self._fresh_since_s = now_s
        self._heard_s = now_s
        clipped = self._newest = self._clip(effort)
        self.clipped += clipped is not effort
        return clipped

    def passed(self, effort: Array, state: State, dt_s: float) -> None:
        """Update the law's holding effort: the command was in force for `dt_s`."""
        self._sent = effort
        self._law.passed(effort, state, dt_s)

    def override(self, state: State, now_s: float, dt_s: float) -> Array | None:
        """Effort (nu,) that replaces the command for the next `dt_s`; None: use the command."""
        fresh = self.deadline_s == 0.0 or now_s - self._heard_s <= self.deadline_s
        if self.stopping and fresh and self._heard_s - self._fresh_since_s >= RESUME_S:
            self.stopping, self._joining = False, True
            self._law.release()
        elif not (self.stopping or fresh):
            self.stopping = True
            self.stops += 1
            self._law.begin(state)
        if self.stopping:
            return self._stop(state, dt_s)
        return self._join(self._newest, dt_s) if self._joining and self._newest is not None else None

    def _join(self, newest: Array, dt_s: float) -> Array:
        """Transition from the law's effort to the newest command."""
        self._sent = self._clip(self._within_rate(newest, dt_s)) if newest.any() else newest
        self._joining = self._sent is not newest and not np.array_equal(self._sent, newest)
        return self._sent

    def _stop(self, state: State, dt_s: float) -> Array:
        wanted = self._law.effort(state, dt_s)
        if self._law.off:
            self._sent = np.zeros(self._robot.nu)
            return self._sent
        self._sent = self._clip(self._within_rate(wanted, dt_s))
        return self._sent

    def _within_rate(self, wanted: Array, dt_s: float) -> Array:
        """Nearest effort to `wanted` within the effort rate."""
        if self._sent is None:
            return wanted
        step = self._robot.effort_rate_limit * dt_s
        return np.clip(wanted, self._sent - step, self._sent + step)

    def _clip(self, effort: Array) -> Array:
        """Clip to the limits; returns the same object if unchanged. All 0 (motors off) is allowed."""
        within = np.clip(effort, self._robot.effort_lower, self._robot.effort_limit)
        return effort if np.array_equal(within, effort) or not effort.any() else within
