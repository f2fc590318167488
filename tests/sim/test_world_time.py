# SPDX-License-Identifier: Apache-2.0
"""The time that several simulated robots share: one clock that waits for all of them, and for none for ever."""

from __future__ import annotations

import random

import pytest

from metarl_robot.sim.world_time import SILENT_S, WorldTime

MS = 10**6
PERIODS = {"left": 5 * MS, "right": 5 * MS, "drone": 4 * MS}


def test_no_robot_is_ahead_of_another_by_more_than_its_period_whatever_the_order_of_messages() -> None:
    for seed in range(20):
        rng, world = random.Random(seed), WorldTime(60.0)
        times, before = dict.fromkeys(PERIODS, 0), 0
        for robot in PERIODS:
            world.ask(robot, 0, 0.0)
        for step in range(2000):
            robot = rng.choice(list(PERIODS))
            wanted = times[robot] + PERIODS[robot]
            world.ask(robot, wanted, step * 1e-3)
            world.advance("left", step * 1e-3)
            assert world.now_ns >= before
            before = world.now_ns
            if world.now_ns >= wanted:
                times[robot] = wanted
            assert all(at <= world.now_ns <= min(times[k] + PERIODS[k] for k in times) for at in times.values())
        assert min(times.values()) > 100 * MS


def test_alone_a_robot_advances_at_each_request() -> None:
    world = WorldTime(60.0)
    for k in range(1, 100):
        world.ask("left", k * 5 * MS, 0.0)
        assert world.advance("left", 0.0) and world.now_ns == k * 5 * MS


def test_the_start_waits_for_robots_without_a_command_and_not_for_ever() -> None:
    world = WorldTime(10.0)
    world.ask("left", 5 * MS, 0.0)
    for now_s in (0.0, 5.0, 9.9):
        world.ask("right", 0, now_s)
        assert not world.advance("left", now_s) and world.now_ns == 0
    world.ask("right", 0, 10.0)
    assert world.advance("left", 10.0) and world.late == ("right",)
    assert world.now_ns == 5 * MS


def test_all_start_together_once_the_last_has_a_command() -> None:
    world = WorldTime(10.0)
    world.ask("left", 0, 0.0)
    world.ask("drone", 4 * MS, 0.0)
    assert not world.advance("left", 0.0)
    world.ask("left", 5 * MS, 1.0)
    assert world.advance("left", 1.0) and world.now_ns == 4 * MS and world.late == ()


def test_a_robot_that_has_ended_holds_nobody_and_one_that_waits_again_does_not_either() -> None:
    world = WorldTime(10.0)
    for robot in PERIODS:
        world.ask(robot, PERIODS[robot], 0.0)
    assert world.advance("left", 0.0) and world.now_ns == 4 * MS
    world.ask("left", 10 * MS, 0.1)
    world.ask("drone", 8 * MS, 0.1)
    world.advance("left", 0.1)
    world.advance("left", 0.1)
    assert world.now_ns == 5 * MS  # 'right' has not been answered since
    world.ask("drone", 8 * MS, SILENT_S + 0.05)
    assert world.advance("left", SILENT_S + 0.05) and world.now_ns == 8 * MS
    world.ask("drone", 0, SILENT_S + 0.06)  # reset: it waits for a command
    assert world.advance("left", SILENT_S + 0.06) and world.now_ns == 10 * MS


def test_a_time_is_shared_with_every_robot_that_lives_also_one_without_a_command() -> None:
    world = WorldTime(0.0)
    world.ask("left", 5 * MS, 0.0)
    assert world.advance("left", 0.0) and not world.shared("left", 0.0)
    world.ask("drone", 4 * MS, 0.0)
    world.ask("drone", 0, 0.1)  # it was reset
    assert not world.others("left", 0.1) and world.shared("left", 0.1)
    assert not world.shared("left", SILENT_S + 0.2)


def test_a_late_robot_joins_at_the_present_time_and_is_waited_for() -> None:
    world = WorldTime(0.0)
    world.ask("left", 5 * MS, 0.0)
    assert world.advance("left", 0.0)
    world.ask("right", 0, 0.0)
    world.ask("left", 10 * MS, 0.0)
    assert world.advance("left", 0.0)
    world.ask("right", 15 * MS, 0.0)
    world.ask("left", 20 * MS, 0.0)
    assert world.advance("left", 0.0) and world.now_ns == 15 * MS
    assert not world.advance("left", 0.0)


@pytest.mark.parametrize("time_ns", [0, 3 * MS])
def test_a_followed_clock_only_advances_until_it_is_restarted(time_ns: int) -> None:
    world = WorldTime(0.0)
    world.pass_to(10 * MS)
    world.pass_to(time_ns)
    assert world.now_ns == 10 * MS
    world.restart(time_ns)
    assert world.now_ns == time_ns and not world.others("left", 0.0)
