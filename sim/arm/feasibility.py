# SPDX-License-Identifier: Apache-2.0
"""Inverse dynamics along a reference, with payload, friction and weak motors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.robot import Robot
from metarl_robot.core.signals import Reference
from metarl_robot.sim import euclidean_model
from metarl_robot.sim.arm.model import compile_model
from metarl_robot.sim.arm.task import Task
from metarl_robot.sim.payload.body import Payload

Array = NDArray[np.float64]


def required_effort(robot: Robot, task: Task, reference: Reference, times: Array) -> Array:
    """Motor commands (N, n) [Nm] that follow the reference exactly at times (N,) under `task`.

    A swinging payload counts as a point mass at the payload site.
    """
    if task.swing:
        task = replace(task, swing=False, payload=Payload(task.payload.mass_kg))
    return euclidean_model.required_effort(compile_model(robot), task, reference.sample(times))
