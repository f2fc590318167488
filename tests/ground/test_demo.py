# SPDX-License-Identifier: Apache-2.0
"""The demo of a car can be driven on every ground that it meets."""

from __future__ import annotations

import numpy as np

from metarl_robot.core.robot import load_robot
from metarl_robot.robots.ground.obstacles import Obstacles
from metarl_robot.sim.kinds import simulation
from metarl_robot.trajectories.flat_outputs import flat_outputs_of

ROBOT = load_robot("f1tenth")


def test_its_course_uses_less_than_the_friction_of_every_ground() -> None:
    room = simulation(ROBOT)
    demo = room.demo(0)
    flat = flat_outputs_of(ROBOT)
    course = flat.paced(flat.motion(demo.arguments["reference"], np.random.default_rng(0), 20.0), demo.pace)
    uses = [
        room.effort_use(task, course, 0.0, demo.duration_s[1])
        for task in (demo.before, *(c.task for c in demo.changes))
    ]
    assert max(uses) <= 0.85 and uses[1] > 0.7
    assert [change.what for change in demo.changes][-1] == "a load is put on"
    line = course.sample(np.arange(0.0, 12.0, 0.02)).q[:, :2]
    assert len(demo.obstacles) == 2 and all(Obstacles(disc[None]).distance(line).min() < 0.0 for disc in demo.obstacles)
    assert demo.launch == "ground" and demo.duration_s[1] > demo.changes[-1].time_s
