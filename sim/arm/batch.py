# SPDX-License-Identifier: Apache-2.0
"""Many simulated arms at once, each under its own task; every one matches an ArmPlant bit for bit."""

from __future__ import annotations

from collections.abc import Sequence

from metarl_robot.core.errors import MetaRLError
from metarl_robot.core.robot import Robot
from metarl_robot.sim.arm.model import compile_model
from metarl_robot.sim.arm.model_errors import JointLaws, joint_laws
from metarl_robot.sim.arm.task import Task
from metarl_robot.sim.euclidean_batch import EuclideanBatch
from metarl_robot.sim.sensor_errors import SensorErrors


class BatchPlant(EuclideanBatch):
    """Arms under constant tasks; none may have a swinging payload, which needs another model."""

    def __init__(self, robot: Robot, tasks: Sequence[Task], seeds: Sequence[int]) -> None:
        if any(task.swing for task in tasks):
            raise MetaRLError("batch: a swinging payload cannot be simulated in a batch; use ArmPlant")
        if any(task.push_n is not None or task.obstacle is not None for task in tasks):
            raise MetaRLError("batch: pushes and obstacles cannot be simulated in a batch; use ArmPlant")
        super().__init__(robot, compile_model(robot), tasks, seeds)

    def step_law(self, tasks: Sequence[Task]) -> JointLaws | None:
        return joint_laws(tasks)

    def sensor_errors(self, task: Task) -> SensorErrors | None:
        return task.sensor_errors
