# SPDX-License-Identifier: Apache-2.0
"""The parts of a simulation that every robot with a vector as position has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.errors import UnknownNameError
from metarl_robot.core.robot import Robot
from metarl_robot.core.signals import Reference
from metarl_robot.sim.demo import Demo
from metarl_robot.sim.demo_settings import DemoSettings
from metarl_robot.sim.disturbances import Disturbances
from metarl_robot.sim.euclidean_model import TaskModel, required_effort
from metarl_robot.sim.euclidean_suites import Draw, Timing, scenario
from metarl_robot.sim.physics_time import PHYSICS_DT_S
from metarl_robot.sim.scenario import Scenario
from metarl_robot.sim.suite_table import SuiteTable
from metarl_robot.sim.task_settings import TaskSettings

if TYPE_CHECKING:
    from metarl_robot.sim.run_log import Log

Array = NDArray[np.float64]

CHECK_RATE_HZ = 50.0


class EuclideanSimulation:
    """See metarl_robot.sim.kinds.Simulation.

    A kind's class adds its tasks, plant, positions and training data. It has neither a demo nor an oracle unless the
    kind's class has.

    task_type: class of the tasks. suites: how their runs are drawn. timings: of kinds of run, by suite and kind.
    """

    physics_dt_s = PHYSICS_DT_S
    settled_m = 2e-4
    task_type: ClassVar[Any]
    suites: ClassVar[SuiteTable[Draw[Any]]]
    timings: ClassVar[Mapping[tuple[str, str], Timing]] = {}
    task_settings: type[TaskSettings] = TaskSettings
    disturbances: type[Disturbances] = Disturbances
    demo_settings: type[DemoSettings] = DemoSettings
    make_oracle: Any = None

    def __init__(self, robot: Robot) -> None:
        self.robot = robot

    def suite_names(self) -> tuple[str, ...]:
        return self.suites.names()

    def scenario_names(self, suite: str) -> tuple[str, ...]:
        return self.suites.kinds(suite)

    def scenario(self, suite: str, kind: str, seed: int) -> Scenario[Any]:
        timing = self.timings.get((suite, kind), Timing())
        return scenario(self.robot, self.suites, self.effort_use, suite, kind, seed, timing)

    def reference_positions(self, q_reference: Array, q: Array) -> Array:
        return self.positions(q_reference)

    def error_meter(self) -> Callable[[Array, Array], float]:
        return lambda q_reference, q: float(np.linalg.norm(np.diff(self.positions(np.stack([q_reference, q])), axis=0)))

    def positions(self, q: Array) -> Array:
        """See metarl_robot.sim.kinds.Simulation."""
        raise NotImplementedError

    def measures(self, plant: Any, scenario: Scenario[Any], log: Log) -> Mapping[str, float | None]:
        return {}

    def angle_errors(self, q: Array, q_reference: Array) -> Array:
        return q - q_reference

    @classmethod
    def task_from_dict(cls, content: dict[str, Any]) -> Any:
        return cls.task_type.from_dict(content)

    def model(self) -> TaskModel:
        """The MuJoCo model that simulates a task."""
        raise NotImplementedError

    def required_effort(self, task: Any, reference: Reference, times: Array) -> Array:
        """Commands (N, nu) that follow the reference exactly at times (N,) under a task."""
        return required_effort(self.model(), task, reference.sample(times))

    def effort_use(self, task: Any, reference: Reference, start_s: float, end_s: float) -> float:
        """See metarl_robot.sim.kinds.Simulation; sampled at 50 Hz."""
        times = np.arange(start_s, end_s, 1.0 / CHECK_RATE_HZ)
        return float(np.max(np.abs(self.required_effort(task, reference, times)) / self.robot.effort_limit))

    def demo(self, seed: int, **settings: Any) -> Demo:
        raise UnknownNameError("demo of a robot of kind", self.robot.kind, ())

    def own_gravity(self) -> Callable[[Array], Array] | None:
        return None
