# SPDX-License-Identifier: Apache-2.0
"""Exchanging controllers in motion."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from metarl_robot.control.bumpless_transfer import FADE_S, BumplessTransfer
from metarl_robot.control.factory import make_controller
from metarl_robot.core.robot import load_robot
from metarl_robot.core.signals import Command, Reference, State
from metarl_robot.sim.arm.plant import ArmPlant
from metarl_robot.sim.arm.task import nominal_task
from metarl_robot.sim.kinds import simulation
from metarl_robot.sim.payload import Payload
from metarl_robot.trajectories.euclidean import random_tracking

ROBOT = load_robot("planar2")
REFERENCE = random_tracking(ROBOT, np.random.default_rng(1), 6.0)


def drive(transfer: BumplessTransfer, plant: ArmPlant, count: int) -> np.ndarray:
    efforts = []
    state = plant.measure()
    for _ in range(count):
        command = transfer.step(plant.time, state, REFERENCE)
        state = plant.step(command.effort, ROBOT.control_period_s)
        efforts.append(command.effort)
    return np.array(efforts)


def loaded_plant() -> ArmPlant:
    """With a payload that nobody knows: the two controllers want different efforts."""
    plant = ArmPlant(ROBOT, nominal_task(ROBOT))
    plant.set_task(type(plant.task)(Payload(1.0), np.zeros(2), np.zeros(2), np.ones(2)))
    plant.reset(REFERENCE.sample(np.zeros(1)).q[0])
    return plant


def test_a_change_in_motion_makes_no_jump_and_ends_at_the_new_controller() -> None:
    plant = loaded_plant()
    transfer = BumplessTransfer(ROBOT, make_controller(ROBOT, "pid"))
    before = drive(transfer, plant, 400)
    transfer.switch(make_controller(ROBOT, "computed_torque"))
    after = drive(transfer, plant, 300)
    usual = np.abs(np.diff(before[100:], axis=0)).max()
    assert np.abs(np.diff(np.concatenate([before[-1:], after]), axis=0)).max() < 3 * usual
    pure = make_controller(ROBOT, "computed_torque").step(plant.time, plant.measure(), REFERENCE).effort
    assert np.allclose(drive(transfer, plant, 1)[0], pure)


def test_a_second_change_during_the_fade_makes_no_jump_either() -> None:
    plant = loaded_plant()
    transfer = BumplessTransfer(ROBOT, make_controller(ROBOT, "pid"))
    before = drive(transfer, plant, 400)
    efforts = [before[-1:]]
    for _ in range(3):
        transfer.switch(make_controller(ROBOT, "computed_torque"))
        efforts.append(drive(transfer, plant, 25))
    usual = np.abs(np.diff(before[100:], axis=0)).max()
    assert np.abs(np.diff(np.concatenate(efforts), axis=0)).max() < 3 * usual


def test_without_the_fade_there_would_be_a_jump() -> None:
    plant = loaded_plant()
    before = drive(BumplessTransfer(ROBOT, make_controller(ROBOT, "pid")), plant, 400)
    bare = drive(BumplessTransfer(ROBOT, make_controller(ROBOT, "computed_torque")), plant, 1)
    assert np.abs(bare[0] - before[-1]).max() > 1.0  # Nm: the payload that only the integral knew


def test_it_takes_over_from_an_effort_that_somebody_else_applied() -> None:
    plant = loaded_plant()
    transfer = BumplessTransfer(ROBOT, make_controller(ROBOT, "computed_torque"))
    held = np.array([12.0, 3.0])
    transfer.take_over(held)
    efforts = drive(transfer, plant, round(FADE_S / ROBOT.control_period_s) + 2)
    assert np.array_equal(efforts[0], held)


@pytest.mark.parametrize(("first", "second"), [("meta_mpc", "meta_mpc"), ("meta_mpc", "offset_free_mpc")])
def test_what_one_controller_knows_the_next_one_knows(first: str, second: str) -> None:
    """New gains in motion cost 1.2 mrad, now 0.35: the model was lost, and noise swung the reference out."""
    panda = load_robot("panda")
    reference = random_tracking(panda, np.random.default_rng(1001), 6.0)
    plant = ArmPlant(panda, replace(nominal_task(panda), payload=Payload(1.25), velocity_noise_rad_s=3e-3), seed=1)
    transfer, errors = BumplessTransfer(panda, make_controller(panda, first)), []
    state = plant.reset(reference.sample(np.zeros(1)).q[0])
    while plant.time < 4.0:
        if len(errors) == round(3.0 / panda.control_period_s):
            transfer.switch(make_controller(panda, second))
        state = plant.step(transfer.step(plant.stamp, state, reference).effort, panda.control_period_s)
        errors.append(np.linalg.norm(plant.truth.q - reference.sample(np.array([plant.time])).q[0]))
    assert np.sqrt(np.mean(np.square(errors[600:]))) < 6e-4


class Listener:
    """A controller that remembers the efforts that a driver's loop made of its commands."""

    def __init__(self) -> None:
        self.flown_efforts: list[np.ndarray] = []

    def reset(self) -> None:
        self.flown_efforts.clear()

    def step(self, time: float, state: State, reference: Reference) -> Command:
        return Command(np.zeros(2))

    def flown(self, effort: np.ndarray) -> None:
        self.flown_efforts.append(effort)


def test_a_controller_that_learns_before_it_acts_is_told_of_a_driver_s_own_efforts_too() -> None:
    plant, effort = loaded_plant(), np.ones(2)
    present, following = Listener(), Listener()
    transfer = BumplessTransfer(ROBOT, present)
    drive(transfer, plant, 2)
    transfer.flown(effort)
    assert present.flown_efforts == [effort] and not following.flown_efforts
    transfer.switch(following)
    drive(transfer, plant, 2)
    transfer.flown(effort)
    assert following.flown_efforts == [effort] and len(present.flown_efforts) == 2


def test_the_sum_keeps_the_effort_limit() -> None:
    plant = loaded_plant()
    transfer = BumplessTransfer(ROBOT, make_controller(ROBOT, "computed_torque"))
    transfer.take_over(ROBOT.effort_limit)
    assert np.all(np.abs(drive(transfer, plant, 100)) <= ROBOT.effort_limit)


def test_a_car_keeps_to_its_path_when_its_controller_is_exchanged() -> None:
    """Beside a reference that led from the car's place to where it should have been by then it was 0.2 m off."""
    car = load_robot("f1tenth")
    room = simulation(car)
    scenario = room.scenario("heldout", "load", 1002)
    ((_, loaded), *_) = scenario.changes
    plant, transfer, errors = (
        room.plant(scenario.initial, 2),
        BumplessTransfer(car, make_controller(car, "meta_mpc")),
        [],
    )
    path, start = scenario.reference.sample(np.arange(0.0, 9.0, 0.005)).q[:, :2], scenario.reference.sample(np.zeros(1))
    state = plant.reset(start.q[0], start.v[0])
    for k in range(round(6.0 / car.control_period_s)):
        if k == round(1.5 / car.control_period_s):
            plant.set_task(loaded)
        if k == round(4.0 / car.control_period_s):
            transfer.switch(make_controller(car, "meta_mpc"))
        state = plant.step(transfer.step(plant.stamp, state, scenario.reference).effort, car.control_period_s)
        errors.append(np.linalg.norm(path - plant.truth.q[:2], axis=1).min())
    assert max(errors[round(4.0 / car.control_period_s) :]) < 0.06
