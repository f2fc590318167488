# SPDX-License-Identifier: Apache-2.0
"""One time for several simulated robots in lockstep, each with its own plant and control period.

Every robot asks for the time at which it may be advanced next: its own time plus its control period, once its last
state has been answered. The world's time is the earliest of these (conservative synchronisation: Chandy and Misra,
"Distributed Simulation", 1979). No robot is thus ahead of another by more than its own period, and a robot that is
slow or paused holds the others.

At time 0 the world waits for robots that have no command yet, so that all start together and a run is the same every
time; but for `start_within_s` at most, after the first one is ready. A robot that starts later joins at the present
time. A robot that has been silent for `SILENT_S` has ended: it holds nobody.
"""

from __future__ import annotations

from typing import NamedTuple

SILENT_S = 2.0
"""A robot repeats its request more often than this while its process lives (steady clock) [s]."""


class _Request(NamedTuple):
    next_ns: int
    heard_s: float


class WorldTime:
    """The time, and the requests for it.

    now_ns: it never goes back, except by `restart`. late: names of the robots without which the world started.

    Arguments:
        start_within_s: how long the start waits for robots without a command (steady clock).
    """

    def __init__(self, start_within_s: float) -> None:
        self.now_ns = 0
        self.late: tuple[str, ...] = ()
        self._start_within_s = start_within_s
        self._requests: dict[str, _Request] = {}
        self._heard_s: dict[str, float] = {}
        self._ready_s: float | None = None

    def ask(self, robot: str, next_ns: int, heard_s: float) -> None:
        """Take a robot's request to be advanced to next_ns; 0: it waits for its first command."""
        self._heard_s[robot] = heard_s
        if next_ns > 0 or self.now_ns == 0:
            self._requests[robot] = _Request(next_ns, heard_s)
        else:
            self._requests.pop(robot, None)

    def others(self, robot: str, now_s: float) -> bool:
        """Whether robots besides this one are advanced by this time."""
        self._forget_silent(robot, now_s)
        return any(request.next_ns > 0 for name, request in self._requests.items() if name != robot)

    def shared(self, robot: str, now_s: float) -> bool:
        """Whether robots besides this one live, also without a command, as after a reset of their own."""
        return any(name != robot and now_s - heard_s <= SILENT_S for name, heard_s in self._heard_s.items())

    def advance(self, robot: str, now_s: float) -> bool:
        """Advance to the earliest requested time, if it is later than the present; returns whether it is.

        robot: the one that holds the time, and is never silent.
        """
        self._forget_silent(robot, now_s)
        asked = {name: request.next_ns for name, request in self._requests.items() if request.next_ns > 0}
        if not asked or (self.now_ns == 0 and self._waits(self._requests.keys() - asked.keys(), now_s)):
            return False
        earliest = min(asked.values())
        if earliest <= self.now_ns:
            return False
        self.now_ns = earliest
        return True

    def pass_to(self, time_ns: int) -> None:
        """Follow another clock, which may only advance."""
        self.now_ns = max(self.now_ns, time_ns)

    def restart(self, time_ns: int = 0) -> None:
        """Begin again at a time."""
        self.now_ns, self._ready_s, self.late = time_ns, None, ()
        self._requests.clear()

    def _waits(self, unready: set[str], now_s: float) -> bool:
        """Whether the start waits for robots without a command."""
        if self._ready_s is None:
            self._ready_s = now_s
        waits = bool(unready) and now_s - self._ready_s < self._start_within_s
        self.late = () if waits else tuple(sorted(unready))
        return waits

    def _forget_silent(self, robot: str, now_s: float) -> None:
        for name, request in list(self._requests.items()):
            if name != robot and now_s - request.heard_s > SILENT_S:
                del self._requests[name]
