# SPDX-License-Identifier: Apache-2.0
"""Simulated data for meta-learning, with the true context of every task."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.factory import residual_meter
from metarl_robot.adaptation.feature_spec import feature_map, nuisance_groups, raw_groups, true_contexts
from metarl_robot.adaptation.training_data import ResidualSeries, TrainingData
from metarl_robot.core.robot import Robot
from metarl_robot.robots.arm.dynamics import ArmDynamics
from metarl_robot.robots.arm.residual_data import output_scale, residual_series
from metarl_robot.robots.arm.training_data import Rollouts, training_data
from metarl_robot.sim.arm.task import TRAIN
from metarl_robot.sim.dataset import DataSet

Array = NDArray[np.float64]

MERGED_DELAYS = (1.0, 1.0)
"""`TaskRanges.command_share` of training data.

All latency is in the commands, so the true state is the state that the sensors measure, without their noise.
"""

MAML_VELOCITY_NOISE_RAD_S = 0.005
"""Standard deviation of the measured velocity that the observer behind MAML's training residuals assumes."""


class ArmTrainingDataBuilder:
    """See metarl_robot.sim.kinds.TrainingDataBuilder."""

    ranges = replace(TRAIN, command_share=MERGED_DELAYS)

    def __init__(self, robot: Robot, knots: int = 1) -> None:
        self._robot = robot
        self.dynamics = ArmDynamics(robot, knots)
        self._nuisances = nuisance_groups(robot, self.dynamics)
        self.groups = tuple(name for name in raw_groups(robot.kind) if name not in self._nuisances)
        self.velocity_scale, self.force_scale, self.unit = robot.velocity_limit, robot.effort_limit, np.ones(robot.dof)

    def training_data(self, data: DataSet, groups: tuple[str, ...]) -> TrainingData:
        return training_data(
            self._robot, self.dynamics, rollouts(self._robot, self.dynamics, data), (*groups, *self._nuisances)
        )

    def truth(self, data: DataSet) -> TrainingData:
        return training_data(self._robot, self.dynamics, rollouts(self._robot, self.dynamics, data)).without_nuisances()

    def residual_series(
        self, data: DataSet, progress: Callable[[int, int], None] | None = None
    ) -> tuple[ResidualSeries, Array]:
        robot, dynamics = self._robot, self.dynamics
        measured = rollouts(robot, dynamics, data)
        truth = training_data(robot, dynamics, measured, self._nuisances).without_nuisances()
        meter = residual_meter(robot, dynamics, MAML_VELOCITY_NOISE_RAD_S)
        return residual_series(robot, dynamics, meter, measured, truth, progress), output_scale(robot)

    def commanded(self, data: DataSet, task: int) -> Array:
        return data.effort[task].astype(float)


def rollouts(robot: Robot, dynamics: ArmDynamics, data: DataSet) -> Rollouts:
    """Convert a data set to rollouts for meta-learning, with the true context of every task."""
    groups = raw_groups(robot.kind)
    features = feature_map(robot, dynamics, groups)
    contexts = true_contexts(robot, data.tasks, groups, features.groups)
    noise = np.array([task.velocity_noise_rad_s for task in data.tasks])
    steps = np.array([task.encoder_resolution_rad for task in data.tasks])
    measured = (data.q, data.v, data.q_measured, data.v_measured)
    return Rollouts(*measured, data.effort, robot.control_period_s, noise, steps, contexts, features.names)
