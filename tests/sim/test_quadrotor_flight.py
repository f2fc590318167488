# SPDX-License-Identifier: Apache-2.0
"""Flights in C are those in numpy, to rounding, and keep to themselves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from metarl_robot.core import rotation
from metarl_robot.core.robot import load_robot
from metarl_robot.core.signals import Setpoints
from metarl_robot.robots.quadrotor.description import Quadrotor
from metarl_robot.robots.quadrotor.random_trajectories import random_flight
from metarl_robot.sim.payload import Payload
from metarl_robot.sim.quadrotor import flight
from metarl_robot.sim.quadrotor.data_collection_controller import DataCollectionController
from metarl_robot.sim.quadrotor.flight import CompiledFlight, Flight, make_flight
from metarl_robot.sim.quadrotor.plant import QuadrotorBatch
from metarl_robot.sim.quadrotor.ranges import draw_task
from metarl_robot.sim.quadrotor.tasks import QuadrotorTask, Wall, Wind

ROBOTS = {name: load_robot(name) for name in ("x500", "crazyflie")}
COUNT = 6
each_robot = pytest.mark.parametrize("robot", ROBOTS.values(), ids=ROBOTS)
# a hundred steps of rounding; forces and accelerations are of the order of 10
ROUNDING = {"rtol": 1e-10, "atol": 1e-11}


def tasks_of(robot: Quadrotor, sling: bool) -> list[QuadrotorTask]:
    rng = np.random.default_rng(3)
    tasks = [draw_task(robot, rng) for _ in range(COUNT)]
    tasks[0] = replace(
        tasks[0], wind=Wind((3.0, 0.0, 0.0), (0.5, 0.0, 0.0), gust_m_s=1.0, wall=Wall((1.0, 0.0, 0.0), -0.2))
    )
    tasks[1] = replace(tasks[1], command_delay_s=0.1, sensor_delay_s=0.1)
    if sling:
        tasks = [replace(task, payload=Payload(0.1 * robot.mass_kg), sling_m=0.3) for task in tasks]
    return tasks


def twins(robot: Quadrotor, sling: bool) -> list[QuadrotorBatch]:
    """The same batch in C and in numpy, near the ground,
    one of them above its rate limit and one about to turn over.
    """
    rng = np.random.default_rng(4)
    q, v = np.tile([0.0, 0.0, 0.3, 1.0, 0.0, 0.0, 0.0], (COUNT, 1)), 0.3 * rng.normal(size=(COUNT, 6))
    q[:, :3] += 0.1 * rng.normal(size=(COUNT, 3))
    q[:, 3:] = rotation.exp(0.2 * rng.normal(size=(COUNT, 3)))
    q[2, 3:], v[3, 5] = rotation.exp(np.array([np.deg2rad(99.0), 0.0, 0.0])), 1.01 * robot.velocity_limit[5]
    v[2, 3:] = [1.0, 0.0, 0.0]
    batches = [
        QuadrotorBatch(robot, tasks_of(robot, sling), range(COUNT), compiled=compiled) for compiled in (True, False)
    ]
    for batch in batches:
        batch.reset(q, v)
    return batches


@each_robot
@pytest.mark.parametrize("sling", [False, True])
def test_steps_in_c_are_those_in_numpy(robot: Quadrotor, sling: bool) -> None:
    fast, plain = twins(robot, sling)
    rng = np.random.default_rng(5)
    for k in range(30):
        effort = robot.hover_thrust * rng.uniform(-0.1, 2.5, (COUNT, 4))
        count = (1, 3, 7)[k % 3]
        states = [(batch.step(effort, count), batch.truth) for batch in (fast, plain)]
        for mine, other in zip(*states, strict=True):
            for name in ("q", "v", "specific_force"):
                np.testing.assert_allclose(getattr(mine, name), getattr(other, name), **ROUNDING)
        assert fast.applied_force.shape == (COUNT, count, 6)
        for name in ("applied_force", "rotor_speeds", "acting_thrust", "wind_felt"):
            np.testing.assert_allclose(getattr(fast, name), getattr(plain, name), **ROUNDING)
        np.testing.assert_array_equal(fast.crashed, plain.crashed)
        np.testing.assert_array_equal(fast.violation_counts, plain.violation_counts)
    assert fast.crashed.any() and not fast.crashed.all()
    assert fast.violation_counts.all(0)[[0, 3]].all() and fast.violation_counts[3, 2] > 0


@each_robot
def test_rollouts_in_c_are_those_in_numpy(robot: Quadrotor) -> None:
    steps, rng = 40, np.random.default_rng(6)
    times = np.arange(steps + 1) * robot.control_period_s
    samples = [random_flight(robot, rng, 5.0).sample(times + 2.0) for _ in range(COUNT)]
    points = Setpoints(*(np.array([getattr(sample, name) for sample in samples]) for name in ("q", "v", "a")))
    dither = 0.03 * robot.hover_thrust.mean() * rng.standard_normal((steps, COUNT, 4))
    law, logs, batches = DataCollectionController(robot, rng, COUNT), [], []
    for compiled in (True, False):
        batch = QuadrotorBatch(robot, tasks_of(robot, False), range(COUNT), compiled=compiled)
        batch.reset(points.q[:, 0], points.v[:, 0])
        sizes = {"q": 7, "v": 6, "specific_force": 3}
        log = {
            name + kind: np.full((COUNT, steps + 1, size), np.nan, np.float32)
            for name, size in sizes.items()
            for kind in ("", "_measured")
        }
        log |= {name: np.full((COUNT, steps, 4), np.nan, np.float32) for name in ("effort", "acting")}
        batch.follow(law.share(slice(None)), points, dither, log)
        law.speeds = np.tile(robot.speeds(robot.hover_thrust), (COUNT, 1))
        logs.append(log)
        batches.append(batch)
    for name, values in logs[0].items():
        np.testing.assert_allclose(values, logs[1][name], rtol=1e-6, atol=1e-6, err_msg=name)  # of single precision
    fast, plain = batches
    assert fast.steps == plain.steps == steps * round(robot.control_period_s / 0.001)
    np.testing.assert_allclose(fast.applied_force, plain.applied_force, **ROUNDING)
    np.testing.assert_allclose(fast.truth.q, plain.truth.q, **ROUNDING)
    after = [batch.step(np.tile(robot.hover_thrust, (COUNT, 1))) for batch in batches]  # and go on
    np.testing.assert_allclose(after[0].q, after[1].q, **ROUNDING)


def test_batches_side_by_side_keep_to_themselves() -> None:
    robot = ROBOTS["x500"]
    effort = np.tile(robot.hover_thrust, (COUNT, 1))
    alone = twins(robot, False)[0]
    expected = [alone.step(effort).q for _ in range(10)]
    one, other = twins(robot, False)[0], twins(robot, True)[0]
    for q in expected:
        other.step(2.0 * effort)
        np.testing.assert_array_equal(one.step(effort).q, q)


def test_without_a_compiler_it_is_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    robot = ROBOTS["x500"]
    assert type(make_flight(robot, 1, 0.001)) is CompiledFlight
    monkeypatch.setattr(flight, "kernel", lambda *names, **constants: None)
    assert type(make_flight(robot, 1, 0.001)) is Flight
