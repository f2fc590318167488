# SPDX-License-Identifier: Apache-2.0
"""The MuJoCo model of a robot with a vector as position, as EuclideanPlant and EuclideanBatch simulate it.

A kind's model writes a task as values of the model's fields. The single plant and the batch both take these values, so
each disturbance is written once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import mujoco
import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.robot import Robot
from metarl_robot.core.signals import Setpoints
from metarl_robot.sim.physics_time import PHYSICS_DT_S
from metarl_robot.sim.profiling import stop_profiling
from metarl_robot.sim.scenario import Task

Array = NDArray[np.float64]
IntArray = NDArray[np.intp]

stop_profiling()


class SensedTask(Task, Protocol):
    """A task's motors, delays and sensors.

    motor_strength: (n,) effort delivered per effort commanded. command_delay_s, sensor_delay_s: time from a command to
    its effect, and from a state to its measurement. position_resolution: step of the measured position; 0: none.
    velocity_noise: standard deviation of the measured velocity. Units are those of the robot's coordinates.
    """

    @property
    def motor_strength(self) -> Array: ...

    @property
    def command_delay_s(self) -> float: ...

    @property
    def sensor_delay_s(self) -> float: ...

    @property
    def position_resolution(self) -> float: ...

    @property
    def velocity_noise(self) -> float: ...


class StepLaw(Protocol):
    """Forces of a task in every physics step. q, v, effort, results: (T, n) for T robots."""

    def friction(self, v: Array, effort: Array) -> Array:
        """Coulomb friction of the joints under the commands that act."""
        ...

    def force(self, q: Array) -> Array:
        """Generalised force on top of the motors'."""
        ...


class TaskModel(Protocol):
    """A compiled model. q, v, u: (n,) indices of the robot's coordinates in qpos, qvel and ctrl, in order."""

    @property
    def model(self) -> mujoco.MjModel: ...

    @property
    def q(self) -> IntArray: ...

    @property
    def v(self) -> IntArray: ...

    @property
    def u(self) -> IntArray: ...

    def fields(self, task: Any) -> Mapping[str, Array]:
        """Values of the model's fields under a task: whole arrays by name, the same names for every task."""
        ...


class Indices(NamedTuple):
    """See TaskModel."""

    q: IntArray
    v: IntArray
    u: IntArray


def required_effort(model: TaskModel, task: SensedTask, points: Setpoints) -> Array:
    """Motor commands (N, n) that follow setpoints (N, ·) exactly under a task, which is written into the model."""
    data, effort = mujoco.MjData(model.model), np.empty_like(points.q)
    install(model, task, data)
    for i in range(len(effort)):
        data.qpos[model.q], data.qvel[model.v], data.qacc[model.v] = points.q[i], points.v[i], points.a[i]
        mujoco.mj_inverse(model.model, data)
        effort[i] = data.qfrc_inverse[model.v]
    return np.asarray(effort / task.motor_strength)


def install(model: TaskModel, task: SensedTask, scratch: mujoco.MjData) -> None:
    """Write a task into the model. scratch: any MjData of the model, overwritten."""
    for name, value in model.fields(task).items():
        getattr(model.model, name)[:] = value
    mujoco.mj_setConst(model.model, scratch)


def compiled(spec: mujoco.MjSpec, physics_dt_s: float = PHYSICS_DT_S) -> mujoco.MjModel:
    """Compile a model for simulation in steps of physics_dt_s. Raises MuJoCo's errors."""
    spec.option.timestep = physics_dt_s
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    spec.option.disableflags |= int(mujoco.mjtDisableBit.mjDSBL_AUTORESET)  # divergence must be detected, not reset
    return spec.compile()


def indices(robot: Robot, model: mujoco.MjModel) -> Indices:
    """Indices of the robot's channels; a channel is a joint with one motor."""
    joints = [model.joint(name) for name in robot.channel_names]
    motor_of = {int(model.actuator_trnid[i, 0]): i for i in range(model.nu)}
    return Indices(
        np.array([joint.qposadr[0] for joint in joints]),
        np.array([joint.dofadr[0] for joint in joints]),
        np.array([motor_of[joint.id] for joint in joints]),
    )
