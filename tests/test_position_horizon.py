# SPDX-License-Identifier: Apache-2.0
"""Horizons of positions: from plans, within limits, ending at rest; and an arm that follows them in closed loop."""

from __future__ import annotations

from dataclasses import replace
from math import inf
from typing import NamedTuple

import numpy as np
import pytest

from metarl_robot.control.factory import make_controller
from metarl_robot.core.errors import SignalError
from metarl_robot.core.robot import load_robot
from metarl_robot.core.signals import Context
from metarl_robot.robots.arm.position_horizon import LEAP_S, OFFSET_S, Horizon, HorizonSettings, PositionHorizons
from metarl_robot.robots.payload import MASS
from metarl_robot.sim.arm.plant import ArmPlant
from metarl_robot.sim.arm.task import nominal_task
from metarl_robot.trajectories.flat_outputs import Outputs, flat_outputs_of
from tests.ros2_control.trajectory_controller import PositionRobot, TrajectoryController

ROBOT = load_robot("planar2", check_model=False)
TIMES = np.arange(21) * 0.02
SETTINGS = HorizonSettings()
LEAD_S = SETTINGS.lead_s


def plan(start_s: float = 0.0, v: tuple[float, float] = (1.0, -0.5), q: np.ndarray = ROBOT.home) -> Horizon:
    """A plan at constant velocity."""
    rates = np.tile(v, (len(TIMES), 1))
    return Horizon(start_s + TIMES, q + TIMES[:, None] * rates, rates)


def horizons(settings: HorizonSettings = SETTINGS) -> PositionHorizons:
    return PositionHorizons(ROBOT, settings)


def test_a_horizon_is_the_plan_ahead_by_the_lag_and_ends_at_rest() -> None:
    made = horizons().make(0.005, plan())
    assert made.times[0] <= 0.005 < made.times[1] and np.all(np.diff(made.times) > 0.0)
    now = np.linspace(0.005, 0.14, 50)
    np.testing.assert_allclose(made.at(now), ROBOT.home + np.outer(now + LEAD_S, [1.0, -0.5]), atol=1e-12)
    assert not made.v[-1].any()
    np.testing.assert_allclose(made.at(np.array([100.0]))[0], made.q[-1])
    assert made.times[-1] - made.times[-2] == pytest.approx(SETTINGS.brake_s)
    slowing = np.linspace(made.times[-2], made.times[-1], 200)
    rates = np.diff(made.at(slowing), axis=0) / np.diff(slowing)[:, None]
    assert np.all(np.diff(rates[:, 0]) < 0.0) and rates[-1, 0] < 0.01  # a constant deceleration, and no way back


def test_the_end_is_reached_before_a_position_limit() -> None:
    near = ROBOT.position_upper - np.array([0.25, 1.0])
    made = horizons().make(0.0, plan(q=near, v=(1.0, 0.0)))
    assert made.q[-1, 0] == pytest.approx(ROBOT.position_upper[0]) and made.times[-1] - made.times[-2] < 0.2
    assert made.at(np.linspace(0.0, 1.0, 1000)).max(axis=0)[0] <= ROBOT.position_upper[0] + 1e-9
    beyond = horizons().make(0.0, plan(q=ROBOT.position_upper + 0.01, v=(1.0, 1.0)))
    np.testing.assert_allclose(beyond.at(np.linspace(0.0, 1.0, 9)), np.tile(ROBOT.position_upper, (9, 1)))


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (plan(v=(6.1, 0.0)), "'shoulder' moves at 6.1"),
        (plan()._replace(q=np.full((21, 2), np.nan)), "not finite"),
        (plan()._replace(times=np.full(21, inf)), "not finite"),
        (plan()._replace(times=np.zeros(21)), "do not increase"),
        (plan(start_s=0.2), "from 0.1"),
        (plan(start_s=-2.0), "from -2"),
    ],
)
def test_a_plan_that_cannot_be_sent_is_refused_with_the_reason(broken: Horizon, words: str) -> None:
    with pytest.raises(SignalError, match=words):
        horizons().make(0.0, broken)


def test_limits_of_first_tests_are_kept() -> None:
    slow = PositionHorizons(ROBOT.at_speed(0.1), SETTINGS)
    slow.make(0.0, plan(v=(0.59, 0.0)))
    with pytest.raises(SignalError, match=r"limit: 0\.6"):
        slow.make(0.02, plan(start_s=0.02, v=(0.61, 0.0)))


def test_a_horizon_that_leaps_is_refused_until_begun_afresh() -> None:
    made = horizons()
    made.make(0.0, plan(v=(0.0, 0.0)))
    away = plan(start_s=0.02, v=(0.0, 0.0), q=ROBOT.home + 1.5 * LEAP_S * ROBOT.velocity_limit)
    with pytest.raises(SignalError, match="'shoulder' would leap"):
        made.make(0.02, away)
    made.reset()
    np.testing.assert_allclose(made.make(0.02, away).q[-1], away.q[0])


def test_the_offset_is_bounded_when_the_robot_is_blocked() -> None:
    made = horizons()
    for k in range(300):  # it plans to go and stays where it is
        made.make(0.02 * k, plan(start_s=0.02 * k, v=(0.5, 0.0)))
    np.testing.assert_allclose(made.offset, [OFFSET_S * ROBOT.velocity_limit[0], 0.0])


class Followed(NamedTuple):
    """Errors and velocities (K, n) at each control step, the controller's refusals, and its last context."""

    errors: np.ndarray
    rates: np.ndarray
    refused: list[str]
    context: Context


def follow(
    mass_kg: float, settings: HorizonSettings, stop_s: float = inf, name: str = "nominal_mpc", tells: bool = True
) -> Followed:
    """A motion of 0.3 rad in 1 s and its hold, by the stand-in's position loop, without plans after `stop_s`.

    tells: the controller is told the efforts of the position loop.
    """
    task = nominal_task(ROBOT)
    plant = ArmPlant(ROBOT, replace(task, payload=replace(task.payload, mass_kg=mass_kg)))
    plant.reset(ROBOT.home)
    body, joints = PositionRobot(ROBOT, plant), list(reversed(ROBOT.channel_names))
    servo = TrajectoryController(joints, ROBOT.home[::-1])
    controller, rest = make_controller(ROBOT, name), np.zeros((2, 2))
    points = Outputs(np.stack([ROBOT.home, ROBOT.home + 0.3]), rest, rest)
    reference = flat_outputs_of(ROBOT).through(np.array([0.3, 1.3]), points)
    made, errors, rates = horizons(settings), [], []
    for k in range(400):
        state = plant.measure()
        if tells and k:
            controller.flown(body.effort)
        command = controller.step(plant.time, state, reference)
        if k % 4 == 0 and plant.time < stop_s and command.plan is not None:
            path = command.plan
            sent = made.make(plant.time, Horizon(path.times, path.q, path.v))
            since_s = sent.times - sent.times[0]
            servo.take(plant.time, sent.times[0], ROBOT.channel_names, since_s, sent.q, sent.v)
        body.step(servo, joints)
        errors.append(plant.measure().q - reference.sample(np.array([plant.time])).q[0])
        rates.append(plant.measure().v)
    return Followed(np.array(errors), np.array(rates), servo.refused, command.context)


@pytest.mark.parametrize(
    ("mass_kg", "lag_s", "largest"),
    [(0.0, 0.033, 0.01), (1.0, 0.033, 0.02), (0.0, 0.0, 0.07), (0.0, 0.1, 0.05)],
    ids=["as it is", "with an unknown kilogram", "lag unknown", "lag three times too long"],
)
def test_an_arm_follows_and_a_load_leaves_no_error_at_rest(mass_kg: float, lag_s: float, largest: float) -> None:
    """The lag of the stand-in is 2 / ω = 0.033 s."""
    errors, _, refused, _ = follow(mass_kg, HorizonSettings(lead_s=lag_s))
    print(f"{mass_kg} kg, lag {lag_s} s: {np.abs(errors).max():.4f} rad, at rest {np.abs(errors[-20:]).max():.5f}")
    assert refused == []
    assert np.abs(errors).max() < largest and np.abs(errors[-20:]).max() < (0.001 if lag_s == 0.033 else 0.02)


def test_without_the_offset_a_load_leaves_an_error() -> None:
    errors, *_ = follow(1.0, HorizonSettings(offset_s=0.0))
    assert np.abs(errors[-20:]).max() > 0.01


def test_a_payload_is_learned_from_the_efforts_of_the_position_loop_and_not_from_the_commands() -> None:
    masses = [follow(1.0, SETTINGS, name="meta_mpc", tells=tells).context[MASS] for tells in (True, False)]
    (told, told_std), (untold, _) = masses
    print(f"1 kg: {told:.2f} ± {told_std:.2f} kg from measured efforts, {untold:.2f} kg from commands")
    assert abs(told - 1.0) < min(0.2, told_std) and abs(untold - 1.0) > 0.3


def test_an_arm_without_plans_comes_to_rest_at_the_end_of_the_last_horizon() -> None:
    _, rates, refused, _ = follow(0.0, SETTINGS, stop_s=0.8)  # in full motion
    k, stopped = 160, int(200 * (0.8 + SETTINGS.horizon_s + SETTINGS.brake_s + 0.25))
    assert refused == [] and np.abs(rates[k]).max() > 0.4
    assert np.abs(rates[stopped:]).max() < 2e-3 and np.abs(rates[: k + 30]).max() < 0.8
