# SPDX-License-Identifier: Apache-2.0
"""States slower or faster than the control rate, irregular, or without velocities: stable, or refused by name."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from metarl_robot.control.factory import make_controller
from metarl_robot.control.state_rate import StateRate
from metarl_robot.core.robot import load_robot
from metarl_robot.core.signals import Command, State, Status
from metarl_robot.safety.missing_velocity import WORDS, MissingVelocity
from metarl_robot.sim.arm.task import nominal_task
from metarl_robot.sim.kinds import simulation
from metarl_robot.trajectories.euclidean import random_tracking
from metarl_robot.trajectories.splines import Hold

PLANAR, PANDA = load_robot("planar2"), load_robot("panda")


def run(robot, controller: str, hz: float, jitter: float = 0.0, end_s: float = 4.5) -> tuple[np.ndarray, list[Command]]:
    """Track a pick-up at 2 s with states at a rate; returns rms joint errors from 1 s on, and the commands."""
    room = simulation(robot)
    scenario = room.scenario("heldout", "pickup", 1001)
    law, plant, rng = make_controller(robot, controller), room.plant(scenario.initial, 1), np.random.default_rng(0)
    start = scenario.reference.sample(np.zeros(1))
    state, errors, commands, carried = plant.reset(start.q[0], start.v[0]), [], [], False
    while plant.time < end_s:
        if plant.time >= 2.0 and not carried:
            plant.set_task(scenario.changes[0][1])
            carried = True
        commands.append(law.step(plant.stamp, state, scenario.reference))
        hold_ms = 1000.0 / hz * (1.0 + jitter * rng.uniform(-1.0, 1.0))
        state = plant.step(commands[-1].effort, max(1, round(hold_ms)) * 1e-3)
        if plant.time > 1.0:
            errors.append(plant.truth.q - scenario.reference.sample(np.array([plant.time])).q[0])
    assert plant.violations.any == 0
    return np.sqrt(np.mean(np.square(errors), axis=1)), commands


@pytest.mark.parametrize("robot", [PLANAR, PANDA], ids=["planar2", "panda"])
@pytest.mark.parametrize(
    ("hz", "jitter"), [(50.0, 0.0), (60.0, 0.2), (67.0, 0.0), pytest.param(500.0, 0.3, marks=pytest.mark.slow)]
)
def test_a_reference_is_followed_at_other_rates(robot, hz: float, jitter: float) -> None:
    """Untuned, a Panda's error was up to 1.5 rad at 50 Hz."""
    errors, commands = run(robot, "meta_mpc", hz, jitter, 2.7 if hz > 200 else 4.5)
    assert errors.max() < 0.06
    said = Counter(command.status for command in commands[10:])
    assert said[Status.FAILED] == 0
    assert ("states come at 50 Hz" in commands[-1].message) == (hz == 50.0)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(("robot", "bound_rad"), [(PLANAR, 1.5e-3), (PANDA, 2.5e-4)], ids=["planar2", "panda"])
def test_a_start_with_slow_states_is_accurate(robot, bound_rad: float, seed: int) -> None:
    """With a latency expected to grow with the period of the states, errors were 2.8 and 4.5, 0.60 and 0.54 mrad."""
    assert start_error(robot, "meta_mpc", seed) < bound_rad


def start_error(robot, controller: str, seed: int) -> float:
    """Root mean square joint error in the first second, with states at 67 Hz."""
    law, plant = make_controller(robot, controller), simulation(robot).plant(nominal_task(robot), 1)
    reference, errors = random_tracking(robot, np.random.default_rng(seed), duration_s=2.0), []
    start = reference.sample(np.zeros(1))
    state = plant.reset(start.q[0], start.v[0])
    while plant.time < 1.0:
        state = plant.step(law.step(plant.stamp, state, reference).effort, 0.015)
        errors.append(plant.truth.q - reference.sample(np.array([plant.time])).q[0])
    return float(np.sqrt(np.mean(np.square(errors))))


@pytest.mark.parametrize("controller", ["nominal_mpc", "offset_free_mpc", "meta_mpc"])
@pytest.mark.parametrize("hz", [40.0, 30.0, 12.0])
def test_states_that_are_too_slow_are_refused_by_rate_and_the_robot_is_held(controller: str, hz: float) -> None:
    """The Panda neither runs away nor leaves its place by more than an unknown payload pulls it down."""
    _, commands = run(PANDA, controller, hz)
    held = commands[6:]
    assert {command.status for command in held} == {Status.FAILED}
    assert all(f"states come at {hz:.0f} Hz" in c.message and "raise the driver's rate" in c.message for c in held)


def test_the_own_rate_is_used_again_and_lost_states_change_nothing() -> None:
    rate, time_s, changes = StateRate(0.005), 0.0, []
    for step_s in [0.005] * 50 + [0.005, 0.02, 0.005] * 20 + [0.03] * 30 + [0.005] * 40:
        time_s += step_s
        if rate.changed(time_s):
            changes.append(rate.period_s)
    assert changes[-2:] == [pytest.approx(0.03), 0.005] and len(changes) <= 3


def test_a_controller_that_loses_states_is_not_tuned_again_and_again() -> None:
    rng, rate, time_s, changes = np.random.default_rng(0), StateRate(0.002), 0.0, 0
    for _ in range(2000):
        time_s += 0.002 * rng.integers(1, 3)
        changes += rate.changed(time_s)
    assert changes <= 2


@pytest.mark.parametrize("first_s", [0.005, 0.02])
def test_far_slower_states_are_noticed_after_three(first_s: float) -> None:
    """With gains for the former rate the arm left its place by 0.3 rad until the median had changed."""
    rate = StateRate(0.005)
    changes = [rate.changed(time_s) for time_s in np.cumsum([first_s] * 30 + [0.04] * 30)]
    assert changes.index(True, 30) == 32 and sum(changes[30:]) == 1 and rate.period_s == pytest.approx(0.04)


def test_an_arm_stays_in_place_when_its_states_slow_down() -> None:
    law, plant = make_controller(PLANAR, "meta_mpc"), simulation(PLANAR).plant(nominal_task(PLANAR), 0)
    here = Hold(PLANAR.home)
    state, left = plant.measure(), []
    for period_s in [0.02] * 25 + [0.04] * 50:
        state = plant.step(law.step(plant.stamp, state, here).effort, period_s)
        left.append(np.abs(plant.truth.q - PLANAR.home).max())
    assert max(left) < 0.03  # 0.27 with the former gains


def still(q: float) -> State:
    return State(np.array([q, 0.2]), np.zeros(2))


def test_missing_velocities_are_refused_by_name() -> None:
    law = make_controller(PLANAR, "computed_torque")
    reference = simulation(PLANAR).scenario("nominal", "undisturbed", 0).reference
    messages = [law.step(0.005 * k, still(0.001 * k), reference).message for k in range(30)]
    assert messages[0] == "" and all(WORDS in message for message in messages[12:])
    assert law.step(0.15, State(np.array([0.03, 0.2]), np.array([0.2, 0.0])), reference).message == ""


def test_a_robot_that_rests_or_was_put_elsewhere_has_velocities() -> None:
    judge = MissingVelocity()
    places = [0.1 + 0.004 * (k % 2) for k in range(40)] + [0.9] * 40
    assert not any(judge.found([q, 0.2], [0.0, 0.0]) for q in places)
