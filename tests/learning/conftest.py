# SPDX-License-Identifier: Apache-2.0
"""A small data set of the planar arm, simulated once."""

from __future__ import annotations

from dataclasses import replace

import pytest

from metarl_robot.adaptation.euclidean_data import Rollouts, training_data
from metarl_robot.adaptation.training_data import TrainingData
from metarl_robot.core.robot import Robot, load_robot
from metarl_robot.robots.arm.dynamics import ArmDynamics
from metarl_robot.sim.arm.task import TRAIN
from metarl_robot.sim.arm.training_data import MERGED_DELAYS, ArmTrainingData
from metarl_robot.sim.dataset import DataSet, collect


@pytest.fixture(scope="session")
def planar() -> Robot:
    return load_robot("planar2")


@pytest.fixture(scope="session")
def dynamics(planar: Robot) -> ArmDynamics:
    return ArmDynamics(planar)


@pytest.fixture(scope="session")
def data(planar: Robot) -> DataSet:
    return collect(planar, 60, seed=3, duration_s=1.2, ranges=replace(TRAIN, command_share=MERGED_DELAYS))


@pytest.fixture(scope="session")
def driven(planar: Robot, data: DataSet) -> Rollouts:
    return ArmTrainingData(planar).rollouts(data)


@pytest.fixture(scope="session")
def tasks(planar: Robot, dynamics: ArmDynamics, driven: Rollouts) -> TrainingData:
    return training_data(planar, dynamics, driven)
