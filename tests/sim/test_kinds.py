# SPDX-License-Identifier: Apache-2.0
"""Every kind of robot is simulated through one interface; a new kind needs a module and a line in a table."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from metarl_robot.core import rotation
from metarl_robot.core.errors import SignalError, UnknownNameError
from metarl_robot.core.robot import load_robot
from metarl_robot.core.signals import Command, State
from metarl_robot.sim.episode import run_episode
from metarl_robot.sim.kinds import simulation, task_from_dict
from metarl_robot.sim.quadrotor.data_collection_controller import DataCollectionController
from metarl_robot.sim.quadrotor.model import hover_command

ROBOTS = {name: load_robot(name) for name in ("planar2", "x500", "crazyflie")}
X500 = ROBOTS["x500"]
each_robot = pytest.mark.parametrize("robot", ROBOTS.values(), ids=ROBOTS)


class Law:
    """Something that flies."""

    def __init__(self, robot) -> None:
        self.robot, self.times, self.told = robot, [], []

    def reset(self) -> None:
        self._law = DataCollectionController(self.robot, np.random.default_rng(1), 1)
        self.times, self.told = [], []

    def observe_truth(self, task) -> None:
        self.told.append(task)

    def step(self, time, state, reference) -> Command:
        self.times.append(time)
        points = reference.sample(np.array([time]))
        return Command(self._law.command(State(state.q[None], state.v[None]), points)[0])


class Falling(Law):
    """Something that stops to fly after 3 s."""

    def step(self, time, state, reference) -> Command:
        command = super().step(time, state, reference)
        return command if time < 3.0 else Command(self.robot.effort_lower)


@each_robot
def test_what_every_simulation_does(robot) -> None:
    room = simulation(robot)
    assert {"train", "heldout", "extrapolation", "nominal"} <= set(room.suite_names())
    run = room.scenario("nominal", room.scenario_names("nominal")[0], 1)
    assert room.task_from_dict(run.initial.to_dict()).to_dict() == run.initial.to_dict()
    assert task_from_dict(robot.kind, room.nominal_task().to_dict()).to_dict() == room.nominal_task().to_dict()
    assert 0.0 < room.effort_use(run.initial, run.reference, 0.0, 5.0) <= 0.85 + 1e-9
    points = run.reference.sample(np.linspace(0.0, 5.0, 7))
    assert room.positions(points.q).shape == (7, 3)
    np.testing.assert_allclose(room.angle_errors(points.q, points.q), 0.0, atol=1e-12)
    plant = room.plant(run.initial, 3)
    for state in (
        plant.reset(),
        plant.reset(points.q[0], points.v[0]),
        plant.step(robot.effort_limit, robot.control_period_s),
    ):
        assert state.q.shape == (robot.nq,)
        assert state.v.shape == (robot.dof,)
    assert plant.measure() is state
    assert plant.applied_effort.shape == (robot.nu,)
    assert plant.time == pytest.approx(robot.control_period_s)
    assert plant.stamp <= plant.time
    assert plant.violations.any == 0
    assert not plant.crashed
    assert robot.control_period_s / room.physics_dt_s == pytest.approx(
        round(robot.control_period_s / room.physics_dt_s)
    )


def test_errors_of_attitude_are_angles() -> None:
    turned = np.array([[0.0, 0.0, 0.0, *rotation.exp(np.array([0.0, 0.3, 0.0]))]])
    level = np.array([[1.0, 2.0, 3.0, -1.0, 0.0, 0.0, 0.0]])  # the other sign
    np.testing.assert_allclose(simulation(X500).angle_errors(turned, level), [[0.0, -0.3, 0.0]], atol=1e-12)
    np.testing.assert_array_equal(simulation(X500).positions(level), [[1.0, 2.0, 3.0]])


def test_a_kind_names_its_simulation() -> None:
    blimp = SimpleNamespace(simulation="types:SimpleNamespace")  # any module, any callable
    with pytest.raises(TypeError):
        simulation(blimp)
    with pytest.raises(UnknownNameError, match=r"blimp.*quadrotor"):
        task_from_dict("blimp", {})
    with pytest.raises(SignalError, match="keys"):
        task_from_dict("quadrotor", {"unknown": 1})


@each_robot
def test_plants_are_deterministic_and_tasks_can_change(robot) -> None:
    room = simulation(robot)
    suite, kind = "heldout", room.scenario_names("heldout")[-2]
    run = room.scenario(suite, kind, 0)
    ends = []
    for _ in range(2):
        plant = room.plant(run.initial, run.noise_seed)
        points = run.reference.sample(np.zeros(1))
        plant.reset(points.q[0], points.v[0])
        for k in range(20):
            if k == 10:
                plant.set_task(run.task_at(6.0))
            state = plant.step(robot.home[: robot.nu] * 0.0 + 0.5 * robot.effort_limit, robot.control_period_s)
        ends.append(np.concatenate([state.q, state.v]))
    np.testing.assert_array_equal(*ends)


@pytest.mark.slow
def test_a_flight_is_run_and_scored() -> None:
    run = simulation(X500).scenario("heldout", "payload", 1)
    law = Law(X500)
    episode = run_episode(X500, lambda _: law, run, "law")
    result, log = episode.result, episode.log
    assert not result.crashed
    assert law.told == [run.initial, run.changes[0][1]]
    assert len(law.times) == len(log.times) == 2400
    assert np.all(np.diff(law.times) > 0.0)
    assert law.times[100] == pytest.approx(log.times[100] - np.ceil(1e3 * run.initial.sensor_delay_s) / 1e3)
    np.testing.assert_array_equal(log.position, log.q[:, :3])
    window = (log.times >= 2.0) & (log.times < 5.0)
    assert result.rmse_before_m == pytest.approx(np.sqrt(np.mean(log.error_m[window] ** 2)))
    assert result.rmse_m == pytest.approx(np.sqrt(np.mean(log.error_m[log.times >= 2.0] ** 2)))
    assert result.rmse_before_m < 0.5 * result.rmse_after_m  # it knows nothing of the payload
    assert 0.0 < result.joint_rmse_after_rad < 0.5
    again = run_episode(X500, lambda _: law, run, "law")
    np.testing.assert_array_equal(again.log.q, log.q)


def test_a_crash_ends_the_run_and_counts_to_its_end() -> None:
    run = simulation(X500).scenario("heldout", "wind_0", 0)
    law = Falling(X500)
    episode = run_episode(X500, lambda _: law, run, "falling")
    result, log = episode.result, episode.log
    assert result.crashed
    assert 3.0 < log.crash_s < 5.0
    assert len(law.times) == round(log.crash_s / X500.control_period_s)  # it is asked no more
    down = log.times >= log.crash_s
    assert np.all(log.position[down] == log.position[-1])
    assert log.position[-1, 2] < 0.3
    distance = np.linalg.norm(
        log.position[-1] - log.position_reference[log.times >= 7.0 - 1e-9][: round(4.0 / 0.005)], axis=1
    )
    assert result.rmse_after_m == pytest.approx(np.sqrt(np.mean(distance**2)))
    assert result.settle_s is None
    assert result.failed_steps == 0
    assert result.step_ms_median > 0.0
    assert not log.effort[down].any()


def test_hovering_commands_are_those_of_the_task() -> None:
    """The plant's rotors turn, after a reset, as they have to for a hover under its task."""
    run = simulation(X500).scenario("heldout", "drop", 0)
    plant = simulation(X500).plant(run.initial)
    plant.reset()
    np.testing.assert_allclose(X500.thrusts_of(plant.rotor_speeds), hover_command(X500, run.initial))
