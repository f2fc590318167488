# SPDX-License-Identifier: Apache-2.0
"""Simulated data for meta-learning, with the true context of every task."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.factory import feature_map, residual_meter
from metarl_robot.adaptation.training_data import ResidualSeries, TrainingData
from metarl_robot.core.robot import Robot
from metarl_robot.robots.arm.dynamics import ArmDynamics
from metarl_robot.robots.arm.residual_data import output_scale, residual_series
from metarl_robot.robots.arm.training_data import RAW_GROUPS, Rollouts, training_data
from metarl_robot.sim.arm.oracle import known_context
from metarl_robot.sim.arm.task import TRAIN, Task
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

    adapters = ("last_layer", "maml")
    groups = ("payload", "friction", "motor")
    ranges = replace(TRAIN, command_share=MERGED_DELAYS)

    def __init__(self, robot: Robot, knots: int = 1) -> None:
        self._robot = robot
        self.dynamics = ArmDynamics(robot, knots)
        self.velocity_scale, self.force_scale, self.unit = robot.velocity_limit, robot.effort_limit, np.ones(robot.dof)

    def training_data(self, data: DataSet, groups: tuple[str, ...]) -> TrainingData:
        return training_data(
            self._robot, self.dynamics, rollouts(self._robot, self.dynamics, data), (*groups, "latency")
        )

    def truth(self, data: DataSet) -> TrainingData:
        return training_data(self._robot, self.dynamics, rollouts(self._robot, self.dynamics, data)).without_latency()

    def residual_series(
        self, data: DataSet, progress: Callable[[int, int], None] | None = None
    ) -> tuple[ResidualSeries, Array]:
        robot, dynamics = self._robot, self.dynamics
        measured = rollouts(robot, dynamics, data)
        truth = training_data(robot, dynamics, measured, ("latency",)).without_latency()
        meter = residual_meter(robot, dynamics, MAML_VELOCITY_NOISE_RAD_S)
        return residual_series(robot, dynamics, meter, measured, truth, progress), output_scale(robot)

    def commanded(self, data: DataSet, task: int) -> Array:
        return data.effort[task].astype(float)


def rollouts(robot: Robot, dynamics: ArmDynamics, data: DataSet) -> Rollouts:
    """Convert a data set to rollouts for meta-learning, with the true context of every task."""
    names = feature_map(robot, dynamics, RAW_GROUPS).names
    period = robot.control_period_s
    contexts = np.stack([np.concatenate([known_context(task), _latency_shares(task, period)]) for task in data.tasks])
    noise = np.array([task.velocity_noise_rad_s for task in data.tasks])
    steps = np.array([task.encoder_resolution_rad for task in data.tasks])
    return Rollouts(
        data.q, data.v, data.q_measured, data.v_measured, data.effort, period, noise, steps, contexts, names
    )


def _latency_shares(task: Task, period: float) -> Array:
    """True coefficients of the latency features.

    A delay of f <= 1 periods is a share f of the last command; a longer one also has a share of the command before.
    """
    late = (task.command_delay_s + task.sensor_delay_s) / period
    return np.array([late, 0.0]) if late <= 1.0 else np.array([2.0 - late, late - 1.0])
