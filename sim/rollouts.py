"""Simulated data in the form that meta-learning takes it: with the true context of every task."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.factory import feature_map
from metarl_robot.dynamics.arm import ArmDynamics
from metarl_robot.meta.data import RAW_GROUPS, Rollouts
from metarl_robot.robot import Robot
from metarl_robot.sim.dataset import DataSet
from metarl_robot.sim.oracle import known_context
from metarl_robot.sim.task import Task

Array = NDArray[np.float64]

MERGED_DELAYS = (1.0, 1.0)
"""`TaskRanges.command_share` of data for learning: the true state is then the state that the sensors see, without their noise."""


def rollouts(robot: Robot, dynamics: ArmDynamics, data: DataSet) -> Rollouts:
    """A data set as what meta-learning takes: with the true context of every task."""
    names = feature_map(robot, dynamics, RAW_GROUPS).names
    period = robot.control_period_s
    contexts = np.stack([np.concatenate([known_context(task), _latency_shares(task, period)]) for task in data.tasks])
    noise = np.array([task.velocity_noise_rad_s for task in data.tasks])
    steps = np.array([task.encoder_resolution_rad for task in data.tasks])
    return Rollouts(data.q, data.v, data.q_measured, data.v_measured, data.effort, period, noise, steps, contexts, names)


def _latency_shares(task: Task, period: float) -> Array:
    """True coefficients of the latency features: a delay of f <= 1 periods is a share f of the last command's; then of the one before."""
    late = (task.command_delay_s + task.sensor_delay_s) / period
    return np.array([late, 0.0]) if late <= 1.0 else np.array([2.0 - late, late - 1.0])
