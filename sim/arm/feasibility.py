# SPDX-License-Identifier: Apache-2.0
"""Inverse dynamics along a reference, with payload, friction and weak motors, to check the effort limits."""

from __future__ import annotations

from dataclasses import replace

import mujoco
import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.robot import Robot
from metarl_robot.core.signals import Reference
from metarl_robot.sim.arm.model import apply_task, compile_model
from metarl_robot.sim.arm.task import Task
from metarl_robot.sim.payload import Payload

Array = NDArray[np.float64]

CHECK_RATE_HZ = 50.0


def required_effort(robot: Robot, task: Task, reference: Reference, times: Array) -> Array:
    """Motor commands (N, n) [Nm] that follow the reference exactly at times (N,) under `task`.

    A swinging payload counts as a point mass at the payload site.
    """
    if task.swing:
        task = replace(task, swing=False, payload=Payload(task.payload.mass_kg))
    layout = compile_model(robot)
    data = mujoco.MjData(layout.model)
    apply_task(layout, task, data)
    points = reference.sample(times)
    effort = np.empty((len(times), robot.dof))
    for i in range(len(times)):
        data.qpos[layout.q], data.qvel[layout.v], data.qacc[layout.v] = points.q[i], points.v[i], points.a[i]
        mujoco.mj_inverse(layout.model, data)
        effort[i] = data.qfrc_inverse[layout.v]
    return effort / task.motor_strength


def torque_use(robot: Robot, task: Task, reference: Reference, start_s: float, end_s: float) -> float:
    """Largest share of an effort limit needed to follow the reference from start_s to end_s, sampled at 50 Hz."""
    times = np.arange(start_s, end_s, 1.0 / CHECK_RATE_HZ)
    return float(np.max(np.abs(required_effort(robot, task, reference, times)) / robot.effort_limit))
