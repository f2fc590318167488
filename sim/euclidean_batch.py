# SPDX-License-Identifier: Apache-2.0
"""Many simulated robots at once, each under its own task: EuclideanPlant, vectorised with mujoco.batch.

Every robot matches an EuclideanPlant with the same task, seed, start and commands bit for bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import mujoco
import numpy as np
from mujoco.batch import Batch
from numpy.typing import NDArray

from metarl_robot.core.robot import Robot
from metarl_robot.core.signals import State
from metarl_robot.sim.euclidean_model import SensedTask, StepLaw, TaskModel
from metarl_robot.sim.noise import NoiseStreams
from metarl_robot.sim.physics_time import PHYSICS_DT_S, velocity_age, whole_steps
from metarl_robot.sim.sensor_errors import ErroneousSensors, SensorErrors

Array = NDArray[np.float64]

_CONTROL = int(mujoco.mjtState.mjSTATE_CTRL)


class EuclideanBatch:
    """T robots under T constant tasks, stepped together at the robot's control rate.

    Arguments:
        robot: the robot to simulate.
        model: simulates every one of the tasks.
        tasks: one per robot.
        seeds: seed of the sensor noise, one per robot.
    """

    def __init__(self, robot: Robot, model: TaskModel, tasks: Sequence[SensedTask], seeds: Sequence[int]) -> None:
        self.robot = robot
        self._layout = model
        self._batch = Batch(self._layout.model, len(tasks), 1)
        self._install(tasks)
        self._seeds, self._law = tuple(seeds), self.step_law(tasks)
        self._sensor_errors = [self.sensor_errors(task) for task in tasks]
        self._substeps = round(robot.control_period_s / PHYSICS_DT_S)
        self._strength = np.array([task.motor_strength for task in tasks])
        resolution = np.array([task.position_resolution for task in tasks])[:, None]
        self._rounded, self._resolution = resolution > 0.0, np.where(resolution > 0.0, resolution, 1.0)
        self._noise_std = np.array([task.velocity_noise for task in tasks])[:, None]
        delays = np.array([whole_steps(task.command_delay_s, PHYSICS_DT_S) for task in tasks])[:, None]
        # (T, substeps) age of the command in effect, counted in commands
        self._age = -((np.arange(self._substeps) - delays) // self._substeps)
        self._sensor_steps = np.array([whole_steps(task.sensor_delay_s, PHYSICS_DT_S) for task in tasks])
        self._keep = (int(self._sensor_steps.max()) // self._substeps + 2) * self._substeps
        self._all = np.arange(len(tasks))
        self._q, self._v, self._u = (_compact(indices) for indices in (self._layout.q, self._layout.v, self._layout.u))

    def step_law(self, tasks: Sequence[Any]) -> StepLaw | None:
        """See EuclideanPlant; for all tasks together."""
        return None

    def sensor_errors(self, task: Any) -> SensorErrors | None:
        """See EuclideanPlant."""
        return None

    def _install(self, tasks: Sequence[SensedTask]) -> None:
        self._expanded = expanded = {name: self._batch.expand(name) for name in self._layout.fields(tasks[0])}
        for i, task in enumerate(tasks):
            for name, value in self._layout.fields(task).items():
                expanded[name][i] = value
        self._batch.set_const()

    def reset(self, q: Array, v: Array) -> State:
        """Start at positions q (T, n), velocities v (T, n); return the first measurements, (T, n) each."""
        layout, batch = self._layout, self._batch
        held = self._holding_commands(q)
        batch.reset(stage=int(mujoco.mjtStage.mjSTAGE_NONE))
        batch.bind("qpos")[:, layout.q], batch.bind("qvel")[:, layout.v] = q + velocity_age(PHYSICS_DT_S) * v, v
        self._noise, self._errors = NoiseStreams(self._seeds, self.robot.dof), None
        if any(self._sensor_errors):
            self._errors = ErroneousSensors(self._sensor_errors, self._seeds, self.robot.dof)
        self._commands = held[None]
        self._steps = 0
        self._recent_q, self._recent_v = (np.repeat(x[:, None], self._keep, axis=1) for x in (q, v))
        return self._sense()

    def step(self, effort: Array) -> State:
        """Issue commands (T, n) and run for one control period.

        Returns the measurements at its end, (T, n) each.
        """
        limit = self.robot.effort_limit
        command = np.clip(effort, -limit, limit)
        command = command if self._errors is None else self._errors.acting(command)
        self._commands = np.concatenate([self._commands[-max(1, self._age.max()) :], command[None]])
        control = np.empty((len(effort), self._substeps, self.robot.dof))
        control[:, :, self._u] = self._in_effect()
        q, v = self._moved(control) if self._law is None else self._moved_step_by_step(control, self._law)
        coming = slice(self._steps % self._keep, self._steps % self._keep + self._substeps)
        self._recent_q[:, coming], self._recent_v[:, coming] = q - velocity_age(PHYSICS_DT_S) * v, v
        self._steps += self._substeps
        return self._sense()

    def _moved(self, control: Array) -> tuple[Array, Array]:
        """Positions and velocities (T, steps, n) under controls (T, steps, n)."""
        record = self._batch.rollout(control.shape[1], control, _CONTROL, record=("qpos", "qvel"))
        return record["qpos"][:, :, self._q], record["qvel"][:, :, self._v]

    def _moved_step_by_step(self, control: Array, law: StepLaw) -> tuple[Array, Array]:
        q, v, applied = (self._batch.bind(name) for name in ("qpos", "qvel", "qfrc_applied"))
        moved = []
        for k in range(control.shape[1]):
            effort = control[:, k, self._u]
            self._expanded["dof_frictionloss"][:, self._layout.v] = law.friction(v[:, self._layout.v], effort)
            applied[:, self._layout.v] = law.force(q[:, self._layout.q])
            moved.append(self._moved(control[:, k : k + 1]))
        return np.concatenate([step[0] for step in moved], axis=1), np.concatenate([step[1] for step in moved], axis=1)

    def _in_effect(self) -> Array:
        """Commands (T, substeps, n) that act in the next physics steps: the newest that are old enough.

        At first these are the holding commands.
        """
        back = np.minimum(self._age, len(self._commands) - 1)
        return np.asarray(self._commands[-1 - back, np.arange(len(back))[:, None]])

    def _sense(self) -> State:
        slots = (self._steps - 1 - self._sensor_steps) % self._keep
        q, v, errors = self._recent_q[self._all, slots], self._recent_v[self._all, slots], self._errors
        q = q if errors is None else errors.position(q, v)
        measured = np.where(self._rounded, np.round(q / self._resolution) * self._resolution, q)
        v = v if errors is None else errors.velocity(measured, v, self.robot.control_period_s)
        state = State(measured, v + self._noise_std * self._noise.next())
        return state if errors is None else errors.delivered(state)

    @property
    def truth(self) -> State:
        """Present true states, (T, n) each."""
        slot = (self._steps - 1) % self._keep
        return State(self._recent_q[:, slot].copy(), self._recent_v[:, slot].copy())

    def _holding_commands(self, q: Array) -> Array:
        """Commands that give each robot zero acceleration at rest; as in EuclideanPlant."""
        layout, batch = self._layout, self._batch
        bias, passive = batch.bind("qfrc_bias"), batch.bind("qfrc_passive")
        batch.reset(stage=int(mujoco.mjtStage.mjSTAGE_NONE))
        batch.bind("qpos")[:, layout.q] = q
        batch.forward()
        limit = self.robot.effort_limit
        force = bias[:, layout.v] - passive[:, layout.v]
        return np.clip(force / np.maximum(self._strength, 1e-3), -limit, limit)


def _compact(indices: NDArray[np.intp]) -> slice | NDArray[np.intp]:
    """Return the indices as a slice where possible, which avoids a copy."""
    run = slice(int(indices[0]), int(indices[0]) + len(indices))
    return run if np.array_equal(np.arange(run.start, run.stop), indices) else indices
