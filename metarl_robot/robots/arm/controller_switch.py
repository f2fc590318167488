# SPDX-License-Identifier: Apache-2.0
"""Which of a robot's controllers acts: an effort controller that our efforts pass through, or one that holds the arm.

The effort controller repeats its last effort forever (forward_command_controller has no timeout). So it may be active
only while the gate's efforts arrive.

    waiting    the controller manager, the effort controller or the gate is missing, or the effort controller is not
               active. Nothing is sent.
    stopping   the gate is told to stop: it holds the arm where it is, and the controller behind it pauses.
    engaging   the gate's holding efforts are sent, and the effort controller is activated in exchange for the holding
               one. The gate is re-armed when it is active, and the controller takes over from effort and pose.
    engaged    efforts are sent.
    held       the gate was silent, latched and at rest, or told to: the holding controller is activated, until the
               effort controller is no longer active. Then nothing is sent until `engage`, or until somebody activates
               the effort controller again.

An arm is taken over only when told, or when somebody else activates the effort controller. Times: one monotonic clock
[s].
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from math import inf

REPEAT_S = 0.5
"""Time between two requests of the same kind."""
TAKE_OVER_S = 10.0
"""Taking over is given up after this time."""
SETTLE_S = 1.0
"""An effort controller that is inactive for this long after a fault was not being activated when it occurred."""
UNHEARD_S = 3.0
"""A controller manager that has not answered for this long is lost."""


class Phase(Enum):
    """See the module's docstring."""

    WAITING = "waiting"
    STOPPING = "stopping"
    ENGAGING = "engaging"
    ENGAGED = "engaged"
    HELD = "held"


class Request(Enum):
    """A request to the gate (STOP, REARM) or to the controller manager (ENGAGE, HOLD)."""

    STOP = "the gate's stop"
    ENGAGE = "the effort controller"
    REARM = "the gate's re-arming"
    HOLD = "the holding controller"


class ControllerSwitch:
    """See the module's docstring.

    Arguments:
        effort, holding: names of the controllers.
        deadline_s: a gate without efforts for this long is silent.

    Attributes:
        phase: the present one. words: its reason, for people.
        unusable: why the effort controller cannot be used; empty if it can.
    """

    def __init__(self, effort: str, holding: str, deadline_s: float) -> None:
        self._effort, self._holding, self._deadline_s = effort, holding, deadline_s
        self._states: Mapping[str, str] = {}
        self._heard_s = self._effort_s = self._since_s = -inf
        self._asked_s = dict.fromkeys(Request, -inf)
        self._passes = self._rests = self._told = self._released = False
        self.unusable = "its joints are not known yet"
        self.phase, self.words = Phase.WAITING, "no controller manager heard"

    @property
    def active(self) -> bool:
        """Whether the effort controller is active, as last heard."""
        return self._states.get(self._effort) == "active"

    @property
    def sends(self) -> bool:
        """Whether efforts go to the effort controller."""
        return self.phase in (Phase.ENGAGING, Phase.ENGAGED) or (self.phase is Phase.HELD and not self._released)

    def controllers(self, now_s: float, states: Mapping[str, str]) -> None:
        """Take the states of all loaded controllers by their names."""
        self._states, self._heard_s = states, now_s

    def gate(self, passes: bool, rests: bool) -> None:
        """Take the gate's state: commands pass; it is latched and the arm at rest."""
        self._passes, self._rests = passes, rests

    def effort(self, now_s: float) -> None:
        """A usable effort of the gate has arrived."""
        self._effort_s = now_s

    def engage(self, now_s: float) -> str:
        """Take over as soon as possible; returns what is missing now, empty if nothing is."""
        self._told = True
        return self._missing(now_s) if self.phase in (Phase.WAITING, Phase.HELD) else ""

    def hold(self, now_s: float, why: str) -> None:
        """Activate the holding controller."""
        if self.phase is not Phase.HELD:
            self._told, self._released = False, False
            self._enter(now_s, Phase.HELD, why)

    def poll(self, now_s: float) -> Request | None:
        """Look at the clock, at least once a period; returns a request to make now."""
        request = self._next(now_s)
        if request is None or now_s - self._asked_s[request] < REPEAT_S:
            return None
        self._asked_s[request] = now_s
        return request

    def _next(self, now_s: float) -> Request | None:
        if self.phase is Phase.WAITING:
            return self._wait(now_s)
        if self.phase is Phase.HELD:
            return self._held(now_s)
        return self._control(now_s)

    def _wait(self, now_s: float) -> Request | None:
        missing = self._missing(now_s)
        if missing or not (self._told or self.active):
            self.words = missing or f"'{self._effort}' is inactive: ~/engage, or activate it"
            return None
        self._enter(now_s, Phase.STOPPING, "the gate stops the arm")
        return Request.STOP

    def _missing(self, now_s: float) -> str:
        if now_s - self._heard_s > UNHEARD_S:
            return "no controller manager heard"
        for name, allowed in ((self._effort, ("active", "inactive")), (self._holding, ("active", "inactive"))):
            state = self._states.get(name, "not loaded")
            if state not in allowed:
                return f"controller '{name}' is {state}; loaded: {', '.join(sorted(self._states)) or 'none'}"
        if self.unusable:
            return f"controller '{self._effort}' cannot be used: {self.unusable}"
        if now_s - self._effort_s > self._deadline_s:
            return "no efforts from the gate"
        return "" if self._passes else "the gate holds the arm: re-arm it first (gate/rearm)"

    def _held(self, now_s: float) -> Request | None:
        if not self._released:
            self._released = not self.active and self._heard_s > self._since_s + SETTLE_S
            return Request.HOLD if self.active else None
        if self._told or self.active:
            self._enter(now_s, Phase.WAITING, "told to take over" if self._told else f"'{self._effort}' was activated")
        return None

    def _control(self, now_s: float) -> Request | None:
        if now_s - self._effort_s > self._deadline_s:
            return self._fail(now_s, f"the gate was silent for more than {self._deadline_s:g} s")
        if now_s - self._heard_s > UNHEARD_S:
            return self._fail(now_s, "the controller manager is silent")
        if self.phase is Phase.ENGAGED:
            return self._engaged(now_s)
        if now_s - self._since_s > TAKE_OVER_S:
            return self._fail(now_s, f"the arm was not taken over within {TAKE_OVER_S:g} s")
        if self.phase is Phase.STOPPING:
            if self._passes:
                return Request.STOP
            self._enter(self._since_s, Phase.ENGAGING, "the gate's holding efforts are sent")
        if not self.active:
            return Request.ENGAGE
        if not self._passes:
            return Request.REARM
        self._enter(now_s, Phase.ENGAGED, f"'{self._effort}' is active")
        return None

    def _engaged(self, now_s: float) -> Request | None:
        if not self.active:
            self._told, self._released = False, True
            state = self._states.get(self._effort, "not loaded")
            self._enter(now_s, Phase.HELD, f"'{self._effort}' is {state}: somebody else has taken over")
        elif self._rests:
            return self._fail(now_s, "the gate has stopped the arm")
        return None

    def _fail(self, now_s: float, why: str) -> Request | None:
        self.hold(now_s, why)
        return Request.HOLD

    def _enter(self, now_s: float, phase: Phase, words: str) -> None:
        self.phase, self.words, self._since_s = phase, words, now_s
