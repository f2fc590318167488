# SPDX-License-Identifier: Apache-2.0
"""Whether horizons are sent: only when told, while the gate passes and plans come; else the arm holds until told."""

from __future__ import annotations

import pytest

from metarl_robot.robots.arm.controller_switch import UNHEARD_S, Phase, Request
from metarl_robot.robots.arm.horizon_switch import FIRST_PLAN_S, HorizonSwitch

PERIOD_S, DEADLINE_S = 0.005, 0.1


class Robot:
    """A switch with gate and controller manager, which obey."""

    def __init__(self) -> None:
        self.switch, self.now_s = HorizonSwitch("joints", DEADLINE_S), 0.0
        self.switch.unusable = ""
        self.state, self.hears = "active", True
        self.passes, self.rests, self.efforts, self.plans, self.refusal = True, False, True, True, ""
        self.requests: list[Request] = []

    def run(self, seconds: float) -> Robot:
        for _ in range(round(seconds / PERIOD_S)):
            self.now_s += PERIOD_S
            if self.hears:
                self.switch.controllers(self.now_s, {"joints": self.state})
            self.switch.gate(self.passes, self.rests)
            if self.efforts:
                self.switch.effort(self.now_s)
            if self.plans:
                self.switch.plan(self.now_s, self.refusal)
            request = self.switch.poll(self.now_s)
            if request is not None:
                self.requests.append(request)
                self.passes = request is Request.REARM
        return self

    def engaged(self) -> Robot:
        self.run(0.1).switch.engage(self.now_s)
        self.run(0.1)
        assert self.switch.phase is Phase.ENGAGED and self.switch.sends
        return self


def test_nothing_is_sent_before_it_is_told_to() -> None:
    robot = Robot().run(1.0)
    assert robot.requests == [] and not robot.switch.sends and "~/engage" in robot.switch.words


def test_the_gate_is_stopped_and_re_armed_so_that_the_controller_begins_at_the_pose() -> None:
    assert Robot().engaged().run(5.0).requests == [Request.STOP, Request.REARM]


@pytest.mark.parametrize(
    ("change", "seconds", "words"),
    [
        ({"state": "inactive"}, 0.1, "is inactive"),
        ({"efforts": False}, 0.2, "the gate was silent"),
        ({"plans": False}, FIRST_PLAN_S + 0.2, "no plan came"),
        ({"refusal": "too fast"}, FIRST_PLAN_S + 0.2, "too fast"),
        ({"passes": False, "rests": True}, 0.1, "the gate has stopped the arm"),
        ({"hears": False}, UNHEARD_S + 0.1, "the controller manager is silent"),
    ],
)
def test_every_fault_ends_the_horizons_until_told(change: dict[str, object], seconds: float, words: str) -> None:
    robot = Robot().engaged()
    requests = list(robot.requests)
    vars(robot).update(change)
    robot.run(seconds)
    assert robot.switch.phase is Phase.HELD and words in robot.switch.words and not robot.switch.sends
    vars(robot).update(vars(Robot()) | {"switch": robot.switch, "now_s": robot.now_s})
    robot.run(3.0)
    assert (
        robot.switch.phase is Phase.HELD and robot.requests == [] and requests
    )  # no request, and no way back by itself
    robot.engaged()


def test_nothing_is_sent_while_the_gate_stops_the_arm() -> None:
    robot = Robot().engaged()
    robot.passes = False
    robot.run(2 * PERIOD_S)
    assert robot.switch.phase is Phase.ENGAGED and not robot.switch.sends


@pytest.mark.parametrize(("state", "words"), [("inactive", "is inactive"), ("unconfigured", "is unconfigured")])
def test_a_controller_that_is_not_active_is_waited_for_and_named(state: str, words: str) -> None:
    robot = Robot()
    robot.state = state
    robot.run(0.1).switch.engage(robot.now_s)
    robot.run(1.0)
    assert robot.requests == [] and "'joints'" in robot.switch.words and words in robot.switch.words
    robot.state = "active"
    robot.run(0.2)
    assert robot.switch.phase is Phase.ENGAGED
