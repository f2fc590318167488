# SPDX-License-Identifier: Apache-2.0
"""The simulation of ground vehicles, behind the interface common to all kinds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.signals import Reference
from metarl_robot.robots.ground.description import GRAVITY_M_S2, Ground
from metarl_robot.robots.ground.obstacles import Obstacles, clearance
from metarl_robot.robots.ground.path_reference import PathReference
from metarl_robot.sim.demo import Demo
from metarl_robot.sim.demo_settings import DemoSettings
from metarl_robot.sim.ground import suites
from metarl_robot.sim.ground.course_edges import edge_margin, lap_times
from metarl_robot.sim.ground.cross_track import CrossTrackError, nearest_on
from metarl_robot.sim.ground.demo import ground_demo
from metarl_robot.sim.ground.disturbances import GroundDisturbances
from metarl_robot.sim.ground.plant import GroundPlant
from metarl_robot.sim.ground.settings import GroundSettings
from metarl_robot.sim.ground.task import GroundTask, PatchedTask
from metarl_robot.sim.kinds import RolloutMaker, TrainingDataBuilder
from metarl_robot.sim.physics_time import PHYSICS_DT_S
from metarl_robot.sim.scenario import Scenario

if TYPE_CHECKING:
    from metarl_robot.sim.run_log import Log

Array = NDArray[np.float64]


class GroundSimulation:
    """See metarl_robot.sim.kinds.Simulation."""

    physics_dt_s = PHYSICS_DT_S
    settled_m = 0.05
    task_settings = GroundSettings
    disturbances = GroundDisturbances
    demo_settings = DemoSettings

    def __init__(self, robot: Ground) -> None:
        self.robot = robot

    def suite_names(self) -> tuple[str, ...]:
        return suites.SUITES.names()

    def scenario_names(self, suite: str) -> tuple[str, ...]:
        return suites.SUITES.kinds(suite)

    def scenario(self, suite: str, kind: str, seed: int) -> Scenario[GroundTask]:
        return suites.scenario(self.robot, suite, kind, seed)

    def plant(self, task: GroundTask, seed: int = 0) -> GroundPlant:
        return GroundPlant(self.robot, task, seed)

    def positions(self, q: Array) -> Array:
        return np.column_stack([q[:, :2], np.zeros(len(q))])

    def reference_positions(self, q_reference: Array, q: Array) -> Array:
        """The points of the reference's path that are nearest to the vehicle: the error is the cross-track error."""
        if len(q_reference) < 2:
            return self.positions(q_reference)
        places, _ = nearest_on(q_reference[:, :2], q[:, :2])
        return np.column_stack([places, np.zeros(len(q))])

    def error_meter(self) -> Callable[[Array, Array], float]:
        error = CrossTrackError()
        return lambda q_reference, q: error(q_reference[:2], q[:2])

    def measures(self, plant: GroundPlant, scenario: Scenario[GroundTask], log: Log) -> Mapping[str, float | None]:
        """spins, progress_m_s and reference_m_s: mean speeds along the path of the vehicle and of the reference.

        Among obstacles also collisions, the number of times that the vehicle's outline came to touch one, and
        least_clearance_m. On a course with edges also left_course, the number of times that the outline crossed one,
        and least_margin_m, its least distance from them. Where the controller chooses the speeds, first_lap_s and
        second_lap_s; None for a lap that is not complete.
        """
        _, along = nearest_on(log.q_reference[:, :2], log.q[:, :2])
        length_m = np.linalg.norm(np.diff(log.q_reference[:, :2], axis=0), axis=1).sum()
        speeds = np.array([along[-1] - along[0], length_m]) / (log.times[-1] - log.times[0])
        driven = {"spins": float(plant.spins), "progress_m_s": float(speeds[0]), "reference_m_s": float(speeds[1])}
        return {**driven, **self._passed(scenario.obstacles, log.q), **self._kept(scenario.reference, log)}

    def _passed(self, discs: Array, q: Array) -> dict[str, float | None]:
        if not len(discs):
            return {}
        free = clearance(self.robot, Obstacles(discs), q)
        return {"collisions": _times(free <= 0.0), "least_clearance_m": float(free.min())}

    def _kept(self, reference: Reference, log: Log) -> dict[str, float | None]:
        if not isinstance(reference, PathReference) or reference.widths is None:
            return {}
        margin = edge_margin(self.robot, reference, log.times, log.q)
        kept: dict[str, float | None] = {"left_course": _times(margin < 0.0), "least_margin_m": float(margin.min())}
        if not reference.speed_grip:
            return kept
        laps = [*lap_times(reference, log.times, log.q[:, :2]), None, None]
        return {**kept, "first_lap_s": laps[0], "second_lap_s": laps[1]}

    def angle_errors(self, q: Array, q_reference: Array) -> Array:
        error: Array = (q[:, 2:] - q_reference[:, 2:] + np.pi) % (2.0 * np.pi) - np.pi
        return error

    def nominal_task(self) -> GroundTask:
        return GroundTask(friction=self.robot.friction, rolling_resistance=self.robot.rolling)

    @staticmethod
    def task_from_dict(content: dict[str, Any]) -> GroundTask:
        kind = PatchedTask if "patch_radius_m" in content else GroundTask
        return kind.from_dict(content)

    def effort_use(self, task: GroundTask, reference: Reference, start_s: float, end_s: float) -> float:
        """Largest share of the ground's friction that the reference's accelerations and the slope need."""
        points = reference.sample(np.arange(start_s, end_s, 0.02))
        needed = points.a[:, :2] + GRAVITY_M_S2 * np.tan(task.slope_rad)
        return float(np.linalg.norm(needed, axis=1).max() / (task.friction * GRAVITY_M_S2))

    def rollout_maker(self) -> RolloutMaker:
        from metarl_robot.sim.ground.rollouts import GroundRollouts

        return GroundRollouts(self.robot)

    def training_data_builder(self, knots: int = 1) -> TrainingDataBuilder:
        from metarl_robot.sim.ground.training_data import GroundTrainingData

        return GroundTrainingData(self.robot)

    def demo(self, seed: int, **settings: Any) -> Demo:
        return ground_demo(self, seed, DemoSettings.of(settings))

    def own_gravity(self) -> None:
        return

    @property
    def make_oracle(self) -> Any:
        from metarl_robot.sim.ground.oracle import make_oracle

        return make_oracle


def _times(happens: NDArray[np.bool_]) -> float:
    """Number of times that something begins to happen (K,)."""
    return float(np.sum(np.diff(happens.astype(int), prepend=0) > 0))
