# SPDX-License-Identifier: Apache-2.0
"""The simulation of arms, behind the interface common to all kinds."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.robot import Robot
from metarl_robot.core.signals import Reference
from metarl_robot.robots.arm.dynamics import ArmDynamics
from metarl_robot.sim.arm import suites
from metarl_robot.sim.arm.batch import BatchPlant
from metarl_robot.sim.arm.demo import arm_demo
from metarl_robot.sim.arm.feasibility import torque_use
from metarl_robot.sim.arm.geometry import EndEffector
from metarl_robot.sim.arm.gravity import NominalGravity
from metarl_robot.sim.arm.plant import ArmPlant
from metarl_robot.sim.arm.task import TRAIN, Task, draw_task, nominal_task
from metarl_robot.sim.demo import Demo
from metarl_robot.sim.euclidean_rollouts import EuclideanRollouts
from metarl_robot.sim.physics_time import PHYSICS_DT_S
from metarl_robot.sim.scenario import Scenario

if TYPE_CHECKING:
    from metarl_robot.sim.arm.rollouts import ArmTrainingDataBuilder

Array = NDArray[np.float64]


class ArmSimulation:
    """See metarl_robot.sim.kinds.Simulation."""

    physics_dt_s = PHYSICS_DT_S

    def __init__(self, robot: Robot) -> None:
        self.robot = robot

    def suite_names(self) -> tuple[str, ...]:
        return suites.suite_names()

    def scenario_names(self, suite: str) -> tuple[str, ...]:
        return suites.scenario_names(suite)

    def scenario(self, suite: str, kind: str, seed: int) -> Scenario[Task]:
        return suites.scenario(self.robot, suite, kind, seed)

    def plant(self, task: Task, seed: int = 0) -> ArmPlant:
        return ArmPlant(self.robot, task, seed)

    def positions(self, q: Array) -> Array:
        return self._end_effector.positions(q)

    @cached_property
    def _end_effector(self) -> EndEffector:
        return EndEffector(self.robot)

    def angle_errors(self, q: Array, q_reference: Array) -> Array:
        return q - q_reference

    def nominal_task(self) -> Task:
        return nominal_task(self.robot)

    @staticmethod
    def task_from_dict(content: dict[str, Any]) -> Task:
        return Task.from_dict(content)

    def effort_use(self, task: Task, reference: Reference, start_s: float, end_s: float) -> float:
        return torque_use(self.robot, task, reference, start_s, end_s)

    def rollout_maker(self) -> EuclideanRollouts:
        return EuclideanRollouts(
            self.robot,
            lambda rng, ranges: draw_task(self.robot, rng, ranges or TRAIN),
            partial(BatchPlant, self.robot),
            ArmDynamics(self.robot).inverse_dynamics,
        )

    def training_data_builder(self, knots: int = 1) -> ArmTrainingDataBuilder:
        from metarl_robot.sim.arm.rollouts import ArmTrainingDataBuilder

        return ArmTrainingDataBuilder(self.robot, knots)

    def demo(self, seed: int, mass_kg: float | None = None, offset_m: tuple[float, ...] | None = None) -> Demo:
        return arm_demo(self, seed, mass_kg, offset_m)

    def own_gravity(self) -> Callable[[Array], Array]:
        return NominalGravity(self.robot).effort

    @property
    def make_oracle(self) -> Any:
        from metarl_robot.sim.arm.oracle import make_oracle

        return make_oracle
