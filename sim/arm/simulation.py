# SPDX-License-Identifier: Apache-2.0
"""The simulation of arms, behind the interface common to all kinds."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.signals import Reference
from metarl_robot.robots.arm.dynamics import ArmDynamics
from metarl_robot.sim.arm.batch import BatchPlant
from metarl_robot.sim.arm.contact_suites import CONTACT_SUITES, contact_scenario
from metarl_robot.sim.arm.demo import arm_demo
from metarl_robot.sim.arm.disturbances import ArmDisturbances
from metarl_robot.sim.arm.feasibility import required_effort
from metarl_robot.sim.arm.geometry import EndEffector
from metarl_robot.sim.arm.gravity import NominalGravity
from metarl_robot.sim.arm.plant import ArmPlant
from metarl_robot.sim.arm.suites import SUITES, TIMINGS
from metarl_robot.sim.arm.task import TRAIN, Task, draw_task, nominal_task
from metarl_robot.sim.demo import Demo
from metarl_robot.sim.euclidean_rollouts import EuclideanRollouts
from metarl_robot.sim.euclidean_simulation import EuclideanSimulation
from metarl_robot.sim.payload.demo import PayloadDemoSettings
from metarl_robot.sim.payload.settings import PayloadSettings
from metarl_robot.sim.scenario import Scenario

if TYPE_CHECKING:
    from metarl_robot.sim.arm.training_data import ArmTrainingData

Array = NDArray[np.float64]


class ArmSimulation(EuclideanSimulation):
    """See metarl_robot.sim.kinds.Simulation."""

    task_type = Task
    suites = SUITES
    timings = TIMINGS
    task_settings = PayloadSettings
    disturbances = ArmDisturbances
    demo_settings = PayloadDemoSettings

    def suite_names(self) -> tuple[str, ...]:
        return (*super().suite_names(), *CONTACT_SUITES.names())

    def scenario_names(self, suite: str) -> tuple[str, ...]:
        return CONTACT_SUITES.kinds(suite) if suite in CONTACT_SUITES.names() else super().scenario_names(suite)

    def scenario(self, suite: str, kind: str, seed: int) -> Scenario[Any]:
        if suite in CONTACT_SUITES.names():
            return contact_scenario(self.robot, suite, kind, seed)
        return super().scenario(suite, kind, seed)

    def plant(self, task: Task, seed: int = 0) -> ArmPlant:
        return ArmPlant(self.robot, task, seed)

    def positions(self, q: Array) -> Array:
        return self._end_effector.positions(q)

    @cached_property
    def _end_effector(self) -> EndEffector:
        return EndEffector(self.robot)

    def nominal_task(self) -> Task:
        return nominal_task(self.robot)

    def required_effort(self, task: Task, reference: Reference, times: Array) -> Array:
        return required_effort(self.robot, task, reference, times)

    def rollout_maker(self) -> EuclideanRollouts:
        return EuclideanRollouts(
            self.robot,
            lambda rng, ranges: draw_task(self.robot, rng, ranges or TRAIN),
            partial(BatchPlant, self.robot),
            ArmDynamics(self.robot).inverse_dynamics,
        )

    def training_data_builder(self, knots: int = 1) -> ArmTrainingData:
        from metarl_robot.sim.arm.training_data import ArmTrainingData

        return ArmTrainingData(self.robot, knots)

    def demo(self, seed: int, **settings: Any) -> Demo:
        return arm_demo(self, seed, self.demo_settings.of(settings))

    def own_gravity(self) -> Callable[[Array], Array]:
        return NominalGravity(self.robot).effort

    @property
    def make_oracle(self) -> Any:
        from metarl_robot.sim.arm.oracle import make_oracle

        return make_oracle
