# SPDX-License-Identifier: Apache-2.0
"""An arm's MPC where efforts, or their rate, do not suffice."""

from __future__ import annotations

import numpy as np

import metarl_robot as mr
from metarl_robot.sim.arm.plant import ArmPlant
from metarl_robot.sim.arm.task import nominal_task
from metarl_robot.trajectories.splines import Hold


def test_a_fast_arm_is_stopped_without_oscillation_within_the_effort_rate() -> None:
    """At 1000 Nm/s a change from 87 to -87 Nm takes 0.17 s, as long as a swing to and fro."""
    robot = mr.load_robot("panda")
    controller, plant = mr.make_controller(robot, "nominal_mpc"), ArmPlant(robot, nominal_task(robot))
    v = np.where(np.isin(np.arange(robot.dof), [0, 2]), 2.0, 0.0)
    state = plant.reset(robot.home, v)
    for _ in range(100):
        state = plant.step(controller.step(plant.stamp, state, Hold(robot.home)).effort, robot.control_period_s)
    assert np.abs(state.q - robot.home).max() < 1e-3
