# SPDX-License-Identifier: Apache-2.0
"""Control of an autopilot: when setpoints are sent, which requests are made, and when control is handed back.

    waiting      no autopilot is heard, or there is no fresh command. Nothing is sent.
    streaming    setpoints are sent, but the autopilot flies in another mode or is disarmed. PX4 accepts its offboard
                 mode only while setpoints arrive, and after they have for a second. A pilot may switch at any time; if
                 `engage` was called, the mode is requested.
    engaged      the autopilot is armed and in our mode: the setpoints fly it.
    handed_back  another mode (pilot, RC override, failsafe), disarmed, or commands that stayed away: nothing is sent
                 until `engage` is called. A stream that continued would let PX4 return to its offboard mode by itself
                 when its failsafe ends.

A setpoint is sent only as the answer to a fresh command, never repeated, so that the stream stops with the commands.
Arming is requested only with `auto_arm`, which also engages at the start.

Times are those of one monotonic clock [s].
"""

from __future__ import annotations

from enum import Enum
from math import inf
from typing import NamedTuple

STREAM_S = 1.2
"""Setpoints are sent for this long before the mode is requested: PX4 wants more than a second."""
LOST_S = 0.5
"""Control is handed back after this time without a fresh command: PX4 needs 2 a second."""
FRESH_S = 0.1
"""Our heartbeat stops after this time without a fresh command."""
UNHEARD_S = 3.0
"""An autopilot that has not reported for this long is lost; heartbeats come once a second."""
REPEAT_S = 1.0
"""Time between two requests of the same kind."""


class Phase(Enum):
    """See the module's docstring."""

    WAITING = "waiting"
    STREAMING = "streaming"
    ENGAGED = "engaged"
    HANDED_BACK = "handed_back"


class Request(Enum):
    """A request to the autopilot."""

    MODE = "mode"
    ARM = "arm"


class Vehicle(NamedTuple):
    """An autopilot's report. ours: it is in the mode in which it follows our setpoints; mode: its name."""

    armed: bool
    ours: bool
    mode: str
    failsafe: bool = False


class Offboard:
    """See the module's docstring.

    Attributes:
        phase: the present one.
        words: its reason, for people.
        vehicle: the autopilot's last report.
    """

    def __init__(self, auto_arm: bool = False) -> None:
        self._auto_arm = self._told = auto_arm
        self._heard_s = self._command_s = -inf
        self._since_s = inf  # begin of the stream
        self._asked_s = dict.fromkeys(Request, -inf)
        self.vehicle: Vehicle | None = None
        self.phase, self.words = Phase.WAITING, "no autopilot heard"

    def report(self, now_s: float, vehicle: Vehicle) -> None:
        """Take the autopilot's report."""
        self.vehicle, self._heard_s = vehicle, now_s
        ready = vehicle.ours and vehicle.armed and not vehicle.failsafe
        if self.phase is Phase.ENGAGED and not ready:
            self._hand_back(_objection(vehicle))
        elif self.phase is Phase.STREAMING and ready:
            self._enter(Phase.ENGAGED, f"the autopilot follows ({vehicle.mode})")

    def command(self, now_s: float) -> bool:
        """Whether the setpoint of a fresh command is to be sent."""
        self._look(now_s)
        self._command_s = now_s
        if self.phase is Phase.WAITING and self._may_stream(now_s):
            self._since_s = now_s
            self._enter(Phase.STREAMING, "setpoints are sent; the autopilot flies by itself")
        return self.phase in (Phase.STREAMING, Phase.ENGAGED)

    def engage(self) -> str:
        """Take control when possible; returns the conditions that are missing now, empty if none is."""
        self._told = True
        if self.phase is Phase.HANDED_BACK:
            self._enter(Phase.WAITING, "told to take control")
        self._asked_s = dict.fromkeys(Request, -inf)
        return self.words if self.phase is Phase.WAITING else ""

    def hand_back(self) -> None:
        """Stop sending setpoints until told again."""
        self._hand_back("told to hand back")

    def poll(self, now_s: float) -> Request | None:
        """Look at the clock, at least once a period; returns a request to make now."""
        self._look(now_s)
        request = self._due(now_s)
        if request is not None:
            self._asked_s[request] = now_s
        return request

    def _look(self, now_s: float) -> None:
        if now_s - self._command_s > LOST_S:
            self._stalled(f"no fresh command for {LOST_S:g} s")
        if now_s - self._heard_s > UNHEARD_S:
            self._stalled("no autopilot heard" if self.vehicle is None else f"autopilot silent for {UNHEARD_S:g} s")

    def alive(self, now_s: float) -> bool:
        """Whether our own heartbeat is sent: before the first command, and beside fresh ones."""
        return self._command_s == -inf or now_s - self._command_s <= FRESH_S

    def _may_stream(self, now_s: float) -> bool:
        vehicle = self.vehicle
        if vehicle is None or now_s - self._heard_s > UNHEARD_S:
            return False
        if vehicle.ours and vehicle.armed and not self._told:
            self.words = f"the autopilot already follows setpoints ({vehicle.mode}); engage to take over"
            return False
        return True

    def _due(self, now_s: float) -> Request | None:
        vehicle = self.vehicle
        streamed_s = now_s - self._since_s
        if vehicle is None or not self._told or self.phase is not Phase.STREAMING or streamed_s < STREAM_S:
            return None
        request = Request.MODE if not vehicle.ours else Request.ARM
        if request is Request.ARM and (vehicle.armed or not self._auto_arm):
            return None
        return request if now_s - self._asked_s[request] >= REPEAT_S else None

    def _stalled(self, why: str) -> None:
        if self.phase is Phase.ENGAGED:
            self._hand_back(why)
        elif self.phase is not Phase.HANDED_BACK:
            self._enter(Phase.WAITING, why)

    def _hand_back(self, why: str) -> None:
        self._told = False
        self._enter(Phase.HANDED_BACK, why)

    def _enter(self, phase: Phase, words: str) -> None:
        self.phase, self.words = phase, words


def _objection(vehicle: Vehicle) -> str:
    """Why an autopilot does not follow us any more."""
    if not vehicle.ours:
        return f"the autopilot changed to {vehicle.mode}" + (" (failsafe)" if vehicle.failsafe else "")
    return "the autopilot is in failsafe" if vehicle.failsafe else "the autopilot disarmed"
