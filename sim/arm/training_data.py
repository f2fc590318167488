# SPDX-License-Identifier: Apache-2.0
"""Simulated data of arms for meta-learning: the common data, and MAML's series of residuals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.factory import residual_meter
from metarl_robot.adaptation.training_data import ResidualSeries
from metarl_robot.core.robot import Robot
from metarl_robot.robots.arm.dynamics import ArmDynamics
from metarl_robot.robots.arm.residual_data import output_scale, residual_series
from metarl_robot.sim.arm.task import TRAIN
from metarl_robot.sim.dataset import DataSet
from metarl_robot.sim.euclidean_training_data import EuclideanTrainingData

Array = NDArray[np.float64]

MERGED_DELAYS = (1.0, 1.0)
"""`TaskRanges.command_share` of training data: all latency is in the commands."""

MAML_VELOCITY_NOISE_RAD_S = 0.005
"""Standard deviation of the measured velocity that the observer behind MAML's training residuals assumes."""


class ArmTrainingData(EuclideanTrainingData):
    """See metarl_robot.sim.kinds.TrainingDataBuilder."""

    def __init__(self, robot: Robot, knots: int = 1) -> None:
        super().__init__(robot, ArmDynamics(robot, knots), replace(TRAIN, command_share=MERGED_DELAYS))

    def residual_series(
        self, data: DataSet, progress: Callable[[int, int], None] | None = None
    ) -> tuple[ResidualSeries, Array]:
        robot, dynamics, measured = self._robot, self.dynamics, self.rollouts(data)
        truth = self._data(measured, self._nuisances).without_nuisances()
        meter = residual_meter(robot, dynamics, MAML_VELOCITY_NOISE_RAD_S)
        return residual_series(robot, dynamics, meter, measured, truth, progress), output_scale(robot)
