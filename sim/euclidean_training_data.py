# SPDX-License-Identifier: Apache-2.0
"""Simulated data for meta-learning of robots with a vector as position, with the true context of every task."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.euclidean_data import Rollouts, training_data
from metarl_robot.adaptation.euclidean_tuning import force_limit
from metarl_robot.adaptation.feature_spec import feature_map, nuisance_groups, raw_groups, true_contexts
from metarl_robot.adaptation.training_data import ResidualSeries, TrainingData
from metarl_robot.core.errors import MetaRLError
from metarl_robot.core.robot import Robot
from metarl_robot.sim.dataset import DataSet

Array = NDArray[np.float64]


class EuclideanTrainingData:
    """See metarl_robot.sim.kinds.TrainingDataBuilder.

    Arguments:
        robot: the robot.
        dynamics: nominal.
        ranges: of the tasks. All latency must be in the commands (sensor_delay_s is zero), so that the true state is
            the state that the sensors measure, without their noise.
    """

    def __init__(self, robot: Robot, dynamics: Any, ranges: Any) -> None:
        self._robot, self.dynamics, self.ranges = robot, dynamics, ranges
        self._nuisances = nuisance_groups(robot, dynamics)
        self.groups = tuple(name for name in raw_groups(robot.kind) if name not in self._nuisances)
        self.velocity_scale, self.unit = robot.velocity_limit, np.ones(robot.dof)
        self.force_scale = force_limit(robot, dynamics)

    def training_data(self, data: DataSet, groups: tuple[str, ...]) -> TrainingData:
        return self._data(self.rollouts(data), (*groups, *self._nuisances))

    def truth(self, data: DataSet) -> TrainingData:
        return self._data(self.rollouts(data), None).without_nuisances()

    def residual_series(
        self, data: DataSet, progress: Callable[[int, int], None] | None = None
    ) -> tuple[ResidualSeries, Array]:
        raise MetaRLError(f"adapter 'maml' is not trained for robots of kind '{self._robot.kind}'")

    def commanded(self, data: DataSet, task: int) -> Array:
        return data.effort[task].astype(float)

    def rollouts(self, data: DataSet) -> Rollouts:
        """Convert a data set to rollouts for meta-learning, with the true context of every task."""
        robot, groups = self._robot, raw_groups(self._robot.kind)
        features = feature_map(robot, self.dynamics, groups)
        contexts = true_contexts(robot, data.tasks, groups, features.groups)
        noise = np.array([task.velocity_noise for task in data.tasks])
        steps = np.array([task.position_resolution for task in data.tasks])
        measured = (data.q, data.v, data.q_measured, data.v_measured)
        return Rollouts(*measured, data.effort, robot.control_period_s, noise, steps, contexts, features.names)

    def _data(self, rollouts: Rollouts, groups: tuple[str, ...] | None) -> TrainingData:
        return training_data(self._robot, self.dynamics, rollouts, groups)
