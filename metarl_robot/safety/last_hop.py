# SPDX-License-Identifier: Apache-2.0
"""The last hop: where commands meet the robot, a watchdog that stops it when they stay out, though the gate is gone.

A gate that was killed or stopped (SIGKILL, SIGSTOP, a machine that hangs) sends nothing, and a driver without a
deadline goes on with the last command. Here a command is in force for `deadline_s`; after that the law of the robot's
kind (fallback_law.py) takes over: an arm brakes and holds, a quadrotor levels, descends and stops its motors. Commands
are in force again when they have come for `RESUME_S`, no two of them further apart than that, joined to the law's
effort no faster than the effort rate allows; whether the robot may move on then is the gate's decision, which
latches when it itself has stood still.

Pure logic for our plant and for bridges to a driver: one clock, that of the robot's control periods. The last check of
each number is here, too: what is not finite is refused, what is beyond a limit is clipped.
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
    """See the module's docstring.

    deadline_s: 0 means none: the last command stays in force. clipped: how many commands were beyond a limit.
    stopping: whether the law is in force. stops: how often it took over.
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
        """Whether commands of a source are taken: those of the first, or of another one once it has been silent for the
        deadline.

        source: a name of the sender's process; may be empty.
        """
        if self._source is None or now_s - self._heard_s > max(self.deadline_s, RESUME_S):
            self._source = source
        return source == self._source

    def accept(self, effort: Array, now_s: float) -> Array:
        """Take a command (nu,) in and return it within the robot's limits.

        Raises:
            SignalError: it has another size or is not finite; it counts as none.
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
        """A command was in force for `dt_s`: what it says of what holds the robot is taken in."""
        self._sent = effort
        self._law.passed(effort, state, dt_s)

    def override(self, state: State, now_s: float, dt_s: float) -> Array | None:
        """(nu,) what is in force instead of the command for the next `dt_s`; None: the command is."""
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
        """From the law's effort to the newest command."""
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
        """What comes closest to `wanted` after the last effort."""
        if self._sent is None:
            return wanted
        step = self._robot.effort_rate_limit * dt_s
        return np.clip(wanted, self._sent - step, self._sent + step)

    def _clip(self, effort: Array) -> Array:
        """Within the limits; all 0 is allowed where it means motors off. The same object when nothing was beyond."""
        within = np.clip(effort, self._robot.effort_lower, self._robot.effort_limit)
        return effort if np.array_equal(within, effort) or not effort.any() else within
