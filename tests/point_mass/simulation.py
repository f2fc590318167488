# SPDX-License-Identifier: Apache-2.0
"""The simulation of point masses."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.robot import Robot
from metarl_robot.sim.euclidean_batch import EuclideanBatch
from metarl_robot.sim.euclidean_plant import EuclideanPlant
from metarl_robot.sim.euclidean_rollouts import EuclideanRollouts
from metarl_robot.sim.euclidean_simulation import EuclideanSimulation
from metarl_robot.sim.euclidean_training_data import EuclideanTrainingData
from metarl_robot.sim.suite_table import SuiteTable
from point_mass.dynamics import PointMassDynamics
from point_mass.task import TRAIN, PointMassModel, PointMassTask, draw_task

Array = NDArray[np.float64]


class PointMassPlant(EuclideanPlant):
    """A point mass in MuJoCo."""

    @cached_property
    def _model(self) -> PointMassModel:
        return PointMassModel(self.robot)

    def model_of(self, task: PointMassTask) -> PointMassModel:
        return self._model

    @property
    def quantities(self) -> Array:
        return np.array([self.task.drag_n_s_m, *self.task.slope_rad])


def _other_ground(robot: Robot, rng: np.random.Generator) -> tuple[PointMassTask, PointMassTask]:
    before, after = draw_task(rng), draw_task(rng)
    return before, replace(before, drag_n_s_m=after.drag_n_s_m, slope_rad=after.slope_rad)


def _undisturbed(robot: Robot, rng: np.random.Generator) -> tuple[PointMassTask, PointMassTask]:
    task = replace(draw_task(rng), drag_n_s_m=0.0, slope_rad=(0.0, 0.0), motor_strength=(1.0, 1.0))
    return task, task


class PointMassSimulation(EuclideanSimulation):
    """See metarl_robot.sim.kinds.Simulation."""

    task_type = PointMassTask
    suites = SuiteTable(
        {
            "train": {"ground": _other_ground},
            "heldout": {"ground": _other_ground},
            "extrapolation": {"ground": _other_ground},
            "nominal": {"undisturbed": _undisturbed},
        }
    )

    def plant(self, task: PointMassTask, seed: int = 0) -> PointMassPlant:
        return PointMassPlant(self.robot, task, seed)

    def model(self) -> PointMassModel:
        return PointMassModel(self.robot)

    def nominal_task(self) -> PointMassTask:
        return PointMassTask()

    def positions(self, q: Array) -> Array:
        return np.concatenate([q, np.zeros((len(q), 1))], axis=1)

    def angle_errors(self, q: Array, q_reference: Array) -> Array:
        return np.zeros((len(q), 0))

    def rollout_maker(self) -> EuclideanRollouts:
        return EuclideanRollouts(
            self.robot,
            lambda rng, ranges: draw_task(rng, ranges or TRAIN),
            partial(EuclideanBatch, self.robot, self.model()),
            PointMassDynamics(self.robot).required_force,
        )

    def training_data_builder(self, knots: int = 1) -> EuclideanTrainingData:
        return EuclideanTrainingData(self.robot, PointMassDynamics(self.robot), TRAIN)
