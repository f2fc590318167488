# SPDX-License-Identifier: Apache-2.0
"""Who commands: streaming before the mode, handing back at once, re-entering only when told, never arming unasked."""

from __future__ import annotations

import pytest

from metarl_robot.robots.quadrotor.autopilot.offboard import LOST_S, STREAM_S, Offboard, Phase, Request, Vehicle

PERIOD_S = 0.005
FLYING = Vehicle(armed=True, ours=False, mode="AUTO.LOITER")
OURS = Vehicle(armed=True, ours=True, mode="OFFBOARD")


class Clock:
    """Runs a state machine: fresh commands each period, reports of the autopilot."""

    def __init__(self, auto_arm: bool = False) -> None:
        self.offboard, self.now_s = Offboard(auto_arm), 0.0
        self.requests: list[Request] = []

    def run(self, seconds: float, vehicle: Vehicle | None, commands: bool = True) -> int:
        """Number of setpoints that were sent."""
        sent = 0
        for _ in range(round(seconds / PERIOD_S)):
            self.now_s += PERIOD_S
            if vehicle is not None:
                self.offboard.report(self.now_s, vehicle)
            if commands:
                sent += self.offboard.command(self.now_s)
            request = self.offboard.poll(self.now_s)
            if request is not None:
                self.requests.append(request)
        return sent

    def engaged(self) -> Clock:
        self.run(2.0, FLYING)
        self.offboard.engage()
        self.run(0.1, OURS)
        assert self.offboard.phase is Phase.ENGAGED
        return self


def test_nothing_is_sent_before_an_autopilot_is_heard() -> None:
    clock = Clock()
    assert clock.run(2.0, None) == 0 and clock.offboard.phase is Phase.WAITING
    assert "no autopilot" in clock.offboard.words
    assert clock.run(1.0, FLYING) == 200 and clock.offboard.phase is Phase.STREAMING


def test_the_mode_is_requested_only_when_told_and_after_the_stream() -> None:
    clock = Clock()
    clock.run(5.0, FLYING)
    assert clock.requests == []
    clock = Clock()
    clock.offboard.engage()
    clock.run(STREAM_S - 0.05, FLYING)
    assert clock.requests == []
    clock.run(0.2, FLYING)
    assert clock.requests == [Request.MODE]
    clock.run(1.0, FLYING)
    assert clock.requests == [Request.MODE, Request.MODE]  # once a second until the autopilot follows


def test_a_pilot_who_switches_is_followed_without_being_told() -> None:
    clock = Clock()
    clock.run(2.0, FLYING)
    clock.run(0.1, OURS)
    assert clock.offboard.phase is Phase.ENGAGED and clock.requests == []


@pytest.mark.parametrize("auto_arm", [False, True])
def test_arming_is_requested_only_with_auto_arm(auto_arm: bool) -> None:
    clock = Clock(auto_arm)
    clock.offboard.engage()
    clock.run(3.0, Vehicle(False, False, "AUTO.LOITER"))
    clock.run(3.0, Vehicle(False, True, "OFFBOARD"))
    assert (Request.ARM in clock.requests) == auto_arm and Request.MODE in clock.requests
    clock.run(0.1, OURS)
    assert clock.offboard.phase is Phase.ENGAGED


@pytest.mark.parametrize(
    ("vehicle", "words"),
    [
        (Vehicle(True, False, "POSCTL"), "changed to POSCTL"),
        (Vehicle(True, False, "AUTO.RTL", failsafe=True), "failsafe"),
        (Vehicle(True, True, "OFFBOARD", failsafe=True), "failsafe"),
        (Vehicle(False, True, "OFFBOARD"), "disarmed"),
    ],
)
def test_control_is_handed_back_at_once_and_taken_only_when_told(vehicle: Vehicle, words: str) -> None:
    clock = Clock().engaged()
    assert clock.run(PERIOD_S, vehicle) == 0 and clock.offboard.phase is Phase.HANDED_BACK
    assert words in clock.offboard.words
    assert clock.run(5.0, OURS) == 0 and clock.offboard.phase is Phase.HANDED_BACK  # also if the mode returns
    clock.offboard.engage()
    assert clock.run(0.1, OURS) > 0 and clock.offboard.phase is Phase.ENGAGED


def test_setpoints_and_heartbeat_stop_with_the_commands() -> None:
    clock = Clock().engaged()
    assert Offboard().alive(0.0) and clock.offboard.alive(clock.now_s)
    assert clock.run(0.12, OURS, commands=False) == 0  # nothing is repeated
    assert not clock.offboard.alive(clock.now_s)
    assert clock.run(0.1, OURS) == 20 and clock.offboard.phase is Phase.ENGAGED  # a short gap
    assert clock.run(LOST_S + 0.1, OURS, commands=False) == 0
    assert clock.offboard.phase is Phase.HANDED_BACK and "no fresh command" in clock.offboard.words
    assert not clock.offboard.alive(clock.now_s)
    assert clock.run(1.0, OURS) == 0


def test_a_lost_link_hands_back() -> None:
    clock = Clock().engaged()
    clock.run(3.1, None)
    assert clock.offboard.phase is Phase.HANDED_BACK and "silent" in clock.offboard.words


def test_an_autopilot_that_already_follows_somebody_is_not_taken_over_unasked() -> None:
    clock = Clock()
    assert clock.run(3.0, OURS) == 0 and "engage to take over" in clock.offboard.words
    clock.offboard.engage()
    assert clock.run(0.1, OURS) == 20 and clock.offboard.phase is Phase.ENGAGED


def test_handing_back_on_request() -> None:
    clock = Clock().engaged()
    clock.offboard.hand_back()
    assert clock.run(1.0, OURS) == 0 and clock.offboard.phase is Phase.HANDED_BACK
