# SPDX-License-Identifier: Apache-2.0
"""The simulation of quadrotors, behind the interface common to all kinds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core import rotation
from metarl_robot.core.signals import Reference
from metarl_robot.robots.quadrotor.description import Quadrotor
from metarl_robot.sim.demo import Demo
from metarl_robot.sim.payload.demo import PayloadDemoSettings
from metarl_robot.sim.payload.settings import PayloadSettings
from metarl_robot.sim.physics_time import PHYSICS_DT_S
from metarl_robot.sim.quadrotor import suites
from metarl_robot.sim.quadrotor.demo import quadrotor_demo
from metarl_robot.sim.quadrotor.disturbances import QuadrotorDisturbances
from metarl_robot.sim.quadrotor.feasibility import flight_use
from metarl_robot.sim.quadrotor.plant import QuadrotorPlant
from metarl_robot.sim.quadrotor.rollouts import QuadrotorRollouts
from metarl_robot.sim.quadrotor.tasks import QuadrotorTask
from metarl_robot.sim.scenario import Scenario

if TYPE_CHECKING:
    from metarl_robot.sim.quadrotor.training_data import FlightTrainingDataBuilder
    from metarl_robot.sim.run_log import Log

Array = NDArray[np.float64]


class QuadrotorSimulation:
    """See metarl_robot.sim.kinds.Simulation."""

    physics_dt_s = PHYSICS_DT_S
    settled_m = 0.02
    task_settings = PayloadSettings
    disturbances = QuadrotorDisturbances
    demo_settings = PayloadDemoSettings

    def __init__(self, robot: Quadrotor) -> None:
        self.robot = robot

    def suite_names(self) -> tuple[str, ...]:
        return suites.suite_names()

    def scenario_names(self, suite: str) -> tuple[str, ...]:
        return suites.scenario_names(suite)

    def scenario(self, suite: str, kind: str, seed: int) -> Scenario[QuadrotorTask]:
        return suites.scenario(self.robot, suite, kind, seed)

    def plant(self, task: QuadrotorTask, seed: int = 0) -> QuadrotorPlant:
        return QuadrotorPlant(self.robot, task, seed)

    def positions(self, q: Array) -> Array:
        return np.array(q[:, :3])

    def reference_positions(self, q_reference: Array, q: Array) -> Array:
        return self.positions(q_reference)

    def error_meter(self) -> Callable[[Array, Array], float]:
        return lambda q_reference, q: float(np.linalg.norm(np.diff(self.positions(np.stack([q_reference, q])), axis=0)))

    def measures(self, plant: Any, scenario: Scenario[Any], log: Log) -> Mapping[str, float | None]:
        return {}

    def angle_errors(self, q: Array, q_reference: Array) -> Array:
        return rotation.error(q[:, 3:], q_reference[:, 3:])

    def nominal_task(self) -> QuadrotorTask:
        return QuadrotorTask(ground_effect=False)

    @staticmethod
    def task_from_dict(content: dict[str, Any]) -> QuadrotorTask:
        return QuadrotorTask.from_dict(content)

    def effort_use(self, task: QuadrotorTask, reference: Reference, start_s: float, end_s: float) -> float:
        return flight_use(self.robot, task, reference, start_s, end_s)

    def rollout_maker(self) -> QuadrotorRollouts:
        return QuadrotorRollouts(self.robot)

    def training_data_builder(self, knots: int = 1) -> FlightTrainingDataBuilder:
        from metarl_robot.sim.quadrotor.training_data import FlightTrainingDataBuilder

        return FlightTrainingDataBuilder(self.robot)

    def demo(self, seed: int, **settings: Any) -> Demo:
        return quadrotor_demo(self, seed, self.demo_settings.of(settings))

    def own_gravity(self) -> None:
        """Commands to a quadrotor always include gravity."""
        return

    @property
    def make_oracle(self) -> Any:
        from metarl_robot.sim.quadrotor.oracle import make_oracle

        return make_oracle
