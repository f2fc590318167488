# SPDX-License-Identifier: Apache-2.0
"""Which controller acts: waiting by name, taking over, and the holding controller on every fault."""

from __future__ import annotations

import pytest

from metarl_robot.robots.arm.controller_switch import REPEAT_S, SETTLE_S, TAKE_OVER_S, ControllerSwitch, Phase, Request

PERIOD_S, DEADLINE_S = 0.005, 0.05
LOADED = {"forward": "inactive", "hold": "active", "broadcaster": "active"}
SWITCHED = {"forward": "active", "hold": "inactive", "broadcaster": "active"}


class Robot:
    """A switch with gate and controller manager, which obey unless told otherwise."""

    def __init__(self) -> None:
        self.switch, self.now_s = ControllerSwitch("forward", "hold", DEADLINE_S), 0.0
        self.switch.unusable = ""
        self.states: dict[str, str] | None = dict(LOADED)
        self.passes, self.rests, self.efforts, self.obeys = True, False, True, True
        self.requests: list[Request] = []

    def run(self, seconds: float) -> Robot:
        for _ in range(round(seconds / PERIOD_S)):
            self.now_s += PERIOD_S
            if self.states is not None:
                self.switch.controllers(self.now_s, self.states)
            self.switch.gate(self.passes, self.rests)
            if self.efforts:
                self.switch.effort(self.now_s)
            request = self.switch.poll(self.now_s)
            if request is not None:
                self.requests.append(request)
                if self.obeys:
                    self._obey(request)
        return self

    def _obey(self, request: Request) -> None:
        if request in (Request.STOP, Request.REARM):
            self.passes = request is Request.REARM
        elif self.states is not None:
            self.states = dict(SWITCHED if request is Request.ENGAGE else LOADED)

    def engaged(self) -> Robot:
        self.run(0.1).switch.engage(self.now_s)
        self.run(0.1)
        assert self.switch.phase is Phase.ENGAGED and self.switch.sends
        return self


def test_an_inactive_controller_is_waited_for_and_named() -> None:
    robot = Robot().run(1.0)
    assert robot.requests == [] and not robot.switch.sends
    assert "'forward' is inactive" in robot.switch.words


@pytest.mark.parametrize(
    ("states", "words"),
    [
        (None, "no controller manager"),
        ({"hold": "active"}, "'forward' is not loaded; loaded: hold"),
        ({"forward": "inactive"}, "'hold' is not loaded"),
        ({"forward": "unconfigured", "hold": "active"}, "'forward' is unconfigured"),
    ],
)
def test_missing_controllers_are_named_also_when_told_to_take_over(states: dict[str, str] | None, words: str) -> None:
    robot = Robot()
    robot.states = states
    robot.switch.engage(0.0)
    assert words in robot.run(1.0).switch.words and robot.requests == [] and not robot.switch.sends


def test_wrong_joints_a_silent_gate_and_a_latched_one_are_waited_for() -> None:
    for change, words in (("unusable", "cannot be used: wrong"), ("efforts", "no efforts"), ("passes", "re-arm it")):
        robot = Robot()
        robot.switch.unusable = "wrong" if change == "unusable" else ""
        robot.efforts, robot.passes = change != "efforts", change != "passes"
        robot.switch.engage(0.0)
        assert words in robot.run(1.0).switch.words and robot.requests == []


def test_taking_over_stops_the_gate_first_and_re_arms_it_last() -> None:
    robot = Robot().engaged()
    assert robot.requests == [Request.STOP, Request.ENGAGE, Request.REARM]
    other = Robot().run(0.5)
    other.states = dict(SWITCHED)  # by somebody else
    assert other.run(0.5).switch.phase is Phase.ENGAGED and other.requests == [Request.STOP, Request.REARM]


def test_a_silent_gate_is_replaced_by_the_holding_controller_at_once() -> None:
    robot = Robot().engaged()
    robot.efforts = False
    robot.run(DEADLINE_S - PERIOD_S)
    assert robot.switch.phase is Phase.ENGAGED
    robot.run(3.0 * PERIOD_S)
    assert robot.requests[-1] is Request.HOLD and robot.states == LOADED
    robot.run(SETTLE_S + 0.1)
    assert robot.switch.phase is Phase.HELD and not robot.switch.sends and "silent" in robot.switch.words
    robot.efforts = True
    assert robot.run(2.0).switch.phase is Phase.HELD and robot.states == LOADED  # nothing returns unasked
    robot.engaged()


def test_a_latched_gate_first_brings_the_arm_to_rest() -> None:
    robot = Robot().engaged()
    robot.passes = False
    assert robot.run(1.0).switch.sends and robot.switch.phase is Phase.ENGAGED  # braking
    robot.rests = True
    assert robot.run(0.1).switch.phase is Phase.HELD and robot.states == LOADED
    assert "re-arm it first" in robot.switch.engage(robot.now_s)
    assert "re-arm it first" in robot.run(SETTLE_S + 0.5).switch.words
    robot.passes, robot.rests = True, False
    assert robot.run(0.5).switch.phase is Phase.ENGAGED


def test_a_refused_switch_is_asked_for_again_and_efforts_go_on_meanwhile() -> None:
    robot = Robot().engaged()
    robot.obeys = False
    robot.switch.hold(robot.now_s, "told")
    robot.run(1.6)
    assert robot.requests.count(Request.HOLD) >= 3 and robot.switch.sends
    robot.obeys = True
    assert not robot.run(REPEAT_S + 0.1).switch.sends


def test_a_controller_manager_that_does_not_switch_is_given_up() -> None:
    robot = Robot().run(0.1)
    robot.switch.engage(robot.now_s)
    robot.run(PERIOD_S)
    robot.obeys = False
    robot.run(TAKE_OVER_S + SETTLE_S + 0.1)
    assert robot.switch.phase is Phase.HELD and "not taken over" in robot.switch.words and not robot.switch.sends


def test_an_effort_controller_that_becomes_active_after_a_fault_is_replaced() -> None:
    robot = Robot().run(0.1)
    robot.switch.engage(robot.now_s)
    robot.obeys = False
    robot.run(PERIOD_S)
    robot.passes = False
    robot.run(0.1)
    assert robot.requests[-1] is Request.ENGAGE
    robot.efforts = False
    robot.run(0.2)
    assert robot.switch.phase is Phase.HELD
    robot.states, robot.obeys = dict(SWITCHED), True  # the switch that was asked for before
    assert robot.run(SETTLE_S).states == LOADED and robot.requests[-1] is Request.HOLD


def test_somebody_else_who_takes_over_keeps_control() -> None:
    robot = Robot().engaged()
    robot.states = dict(LOADED)
    robot.run(2.0)
    assert robot.switch.phase is Phase.HELD and "somebody else" in robot.switch.words
    assert Request.HOLD not in robot.requests and not robot.switch.sends
