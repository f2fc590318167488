# SPDX-License-Identifier: Apache-2.0
"""Whether horizons go to a trajectory controller, which also holds the arm when none come.

No controller is exchanged. Phases (controller_switch.py):

    waiting    the controller manager, the controller or the gate is missing, or nobody told to take over.
    stopping   the gate is told to stop, so that the controller behind it pauses.
    engaging   the gate is re-armed, and the controller begins afresh at the arm's pose.
    engaged    horizons are sent.
    held       nothing is sent, and the arm holds at the end of the last horizon, until `engage`.
"""

from __future__ import annotations

from math import inf

from metarl_robot.robots.arm.controller_switch import ControllerSwitch, Phase, Request

FIRST_PLAN_S = 2.0
"""The first horizon must come within this time after the gate was re-armed."""


class HorizonSwitch(ControllerSwitch):
    """See the module's docstring.

    Arguments:
        controller: name of the trajectory controller.
        deadline_s: a gate without efforts, or a solver without usable plans, for this long is silent.
    """

    def __init__(self, controller: str, deadline_s: float) -> None:
        super().__init__(controller, controller, deadline_s)
        self._plan_s = -inf
        self._refusal = ""

    @property
    def sends(self) -> bool:
        """Whether a horizon may be sent now."""
        return self.phase is Phase.ENGAGED and self._passes

    def plan(self, now_s: float, refusal: str = "") -> None:
        """A plan has come; refusal: why it is not usable."""
        self._refusal = refusal
        if not refusal:
            self._plan_s = now_s

    def _missing(self, now_s: float) -> str:
        missing = super()._missing(now_s)
        if missing or self.active:
            return missing
        return f"controller '{self._effort}' is inactive: activate it"

    def _wait(self, now_s: float) -> Request | None:
        missing = self._missing(now_s)
        if missing or not self._told:
            self.words = missing or "ready: ~/engage takes over"
            return None
        self._enter(now_s, Phase.STOPPING, "the gate stops the arm")
        return Request.STOP

    def _held(self, now_s: float) -> Request | None:
        if self._told:
            self._enter(now_s, Phase.WAITING, "told to take over")
        return None

    def _control(self, now_s: float) -> Request | None:
        if not self.active and self.phase is not Phase.ENGAGED:
            return self._fail(now_s, f"controller '{self._effort}' is no longer active")
        return super()._control(now_s)

    def _engaged(self, now_s: float) -> Request | None:
        silent_s = now_s - max(self._plan_s, self._since_s + FIRST_PLAN_S)
        if silent_s > self._deadline_s:
            return self._fail(now_s, self._refusal or f"no plan came for more than {self._deadline_s:g} s")
        return super()._engaged(now_s)

    def _fail(self, now_s: float, why: str) -> Request | None:
        self.hold(now_s, why)
        return None
