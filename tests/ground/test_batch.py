# SPDX-License-Identifier: Apache-2.0
"""Many ground vehicles in a batch: each moves like a GroundPlant, and unsuitable tasks are refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from metarl_robot.core.errors import MetaRLError
from metarl_robot.core.robot import load_robot
from metarl_robot.robots.ground.description import Ground
from metarl_robot.sim.ground.batch import GroundBatch
from metarl_robot.sim.ground.plant import GroundPlant
from metarl_robot.sim.ground.suites import draw_task
from metarl_robot.sim.ground.task import GroundTask


def vehicle(name: str) -> Ground:
    robot = load_robot(name)
    assert isinstance(robot, Ground)
    return robot


@pytest.mark.parametrize(("name", "count"), [("f1tenth", 18), ("husky", 2)])
def test_vehicles_of_a_batch_move_like_single_ones(name: str, count: int) -> None:
    """More than are computed together, under different delays, loads, slopes and frictions, up to a slide."""
    robot, rng = vehicle(name), np.random.default_rng(1000)
    tasks = [draw_task(robot, rng) for _ in range(count)]
    tasks[1] = replace(tasks[1], steering_delay_s=0.023 * robot.is_steered, right_share=0.5)
    batch = GroundBatch(robot, tasks, range(count))
    singles = [GroundPlant(robot, task, seed) for seed, task in enumerate(tasks)]
    for _ in range(2):  # the second time after another motion
        q, v = rng.normal(size=(count, 3)), rng.normal(size=(count, 3)) * (0.5, 0.1, 0.3)
        first = batch.reset(q, v)
        for i, plant in enumerate(singles):
            one = plant.reset(q[i], v[i])
            np.testing.assert_allclose([first.q[i], first.v[i]], [one.q, one.v], atol=1e-12)
        for _ in range(30):
            effort = 1.5 * robot.effort_limit * rng.uniform(-1.0, 1.0, (count, robot.nu))
            found = batch.step(effort)
            for i, plant in enumerate(singles):
                one = plant.step(effort[i], robot.control_period_s)
                np.testing.assert_allclose(found.q[i], one.q, rtol=0.0, atol=1e-8)
                np.testing.assert_allclose(found.v[i], one.v, rtol=0.0, atol=1e-7)
    assert np.abs(batch.truth.v).max() > 0.5


def test_tasks_that_need_the_single_plant_are_refused() -> None:
    for task in (GroundTask(tyre="contact"), GroundTask(wheel_odometry=True)):
        with pytest.raises(MetaRLError, match="batch.*GroundPlant"):
            GroundBatch(vehicle("f1tenth"), [GroundTask(), task], [0, 1])
