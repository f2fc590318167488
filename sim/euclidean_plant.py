# SPDX-License-Identifier: Apache-2.0
"""A simulated robot with a vector as position, under one task: executes commands and returns measurements.

The robot is a MuJoCo model of hinges and slides with one motor for each (`TaskModel`). A kind makes its model and
writes a task into the model's fields; motors, delays and sensors are here.

Time runs in physics steps of length dt. The delays d_c and d_s are rounded up to whole steps. At step k the motors
apply the newest command issued at or before step k - d_c. A measurement shows the state at step k - d_s: its position
is rounded to the encoder's step, its velocity has Gaussian noise. Every call of `step` draws one vector of noise,
independent of the command. Further errors of sensors and drives (sensor_errors.py) have noise of their own.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.errors import MetaRLError, SignalError
from metarl_robot.core.robot import Robot
from metarl_robot.core.signals import State
from metarl_robot.sim.euclidean_model import SensedTask, StepLaw, TaskModel, install
from metarl_robot.sim.physics_time import MAX_DELAY_S, PHYSICS_DT_S, velocity_age, whole_steps
from metarl_robot.sim.sensor_errors import ErroneousSensors, SensorErrors

Array = NDArray[np.float64]

_LIMIT_TOLERANCE = 1e-9


@dataclass(frozen=True)
class Violations:
    """Physics steps with a torque command, velocity or position beyond a limit; `any` counts each step once."""

    torque: int = 0
    velocity: int = 0
    position: int = 0
    any: int = 0


class EuclideanPlant:
    """A robot in MuJoCo. Deterministic: equal seeds, tasks and commands give equal measurements, bit for bit.

    A kind's class defines `model_of` and `quantities`.

    Arguments:
        robot: the robot to simulate.
        task: initial physical conditions.
        seed: seed of the sensor noise.
        physics_dt_s: length of a physics step.
    """

    def __init__(
        self, robot: Robot, task: SensedTask, seed: int | Sequence[int] = 0, physics_dt_s: float = PHYSICS_DT_S
    ) -> None:
        self.robot = robot
        self._seed = seed
        self._dt = physics_dt_s
        self._use(self.model_of(task))
        self._install(task)
        self.reset(robot.home)

    def model_of(self, task: Any) -> TaskModel:
        """The model that simulates a task: the same object for all tasks that one model can simulate."""
        raise NotImplementedError

    @property
    def quantities(self) -> Array:
        """See metarl_robot.sim.kinds.Plant."""
        raise NotImplementedError

    def step_law(self, task: Any) -> StepLaw | None:
        """Forces of the task in every physics step; None: there are none."""
        return None

    def sensor_errors(self, task: Any) -> SensorErrors | None:
        """Errors of the task's sensors and drives on top of those of SensedTask; None: none."""
        return None

    def started(self, before: Any) -> None:
        """Called when the task begins, after a reset (before: None) or in place of the task `before`."""

    def stepped(self) -> None:
        """Called after every physics step."""

    def _use(self, layout: TaskModel) -> None:
        self._layout = layout
        self._data, self._scratch = mujoco.MjData(layout.model), mujoco.MjData(layout.model)

    def _install(self, task: Any) -> None:
        install(self._layout, task, self._scratch)
        self._task, self._law = task, self.step_law(task)
        self._data.qfrc_applied[:] = 0.0
        self._command_steps = whole_steps(task.command_delay_s, self._dt)
        self._sensor_steps = whole_steps(task.sensor_delay_s, self._dt)

    def reset(self, q: Array | None = None, v: Array | None = None) -> State:
        """Restart at t = 0 at position q (n,) and velocity v (n,), with the noise of the seed.

        Defaults: home, at rest. Until the first command takes effect, the motors give the effort that holds the robot
        in place.

        Returns:
            The first measurement.
        """
        q = self.robot.home if q is None else self._checked("position", q)
        v = np.zeros(self.robot.dof) if v is None else self._checked("velocity", v)
        mujoco.mj_resetData(self._layout.model, self._data)
        self._data.qpos[self._layout.q], self._data.qvel[self._layout.v] = q + velocity_age(self._dt) * v, v
        self.started(None)
        self._rng = np.random.default_rng(self._seed)
        self._steps = 0
        self._states = deque([(q.copy(), v.copy())], maxlen=whole_steps(MAX_DELAY_S, self._dt) + 1)
        self._issued = [(-whole_steps(MAX_DELAY_S, self._dt), self._holding_command())]
        self._applied = self._issued[0][1] * self._task.motor_strength
        self._counts = np.zeros(4, int)
        self._errors: ErroneousSensors | None = None
        self._use_errors()
        return self._sense(self.robot.control_period_s)

    def step(self, effort: Array, duration_s: float) -> State:
        """Issue a command now, and run for duration_s (a whole number of physics steps).

        Arguments:
            effort: (n,); clamped to the robot's effort limits.
            duration_s: time until the next command.

        Returns:
            The measurement at the end.

        Raises:
            SignalError: wrong number of joints, a value that is not finite, or a duration that is no multiple of the
                physics step; the plant is unchanged.
            MetaRLError: the simulation diverged.
        """
        effort = self._checked("effort", effort)
        count = round(duration_s / self._dt)
        if count < 1 or abs(count * self._dt - duration_s) > 1e-9:
            raise SignalError(
                f"plant: duration {duration_s} s is not a positive multiple of the physics step {self._dt} s"
            )
        limit = self.robot.effort_limit
        self._forget()
        self._issued.append((self._steps, self._acting(np.clip(effort, -limit, limit))))
        applied, q, v = (np.empty((count, self.robot.dof)) for _ in range(3))
        layout, data = self._layout, self._data
        for k in range(count):
            command = self._command_in_effect()
            data.ctrl[layout.u] = command
            if self._law is not None:
                self._apply(self._law, command)
            mujoco.mj_step(layout.model, data)
            self._steps += 1
            self.stepped()
            applied[k], v[k] = command, data.qvel[layout.v]
            q[k] = data.qpos[layout.q] - velocity_age(self._dt) * v[k]
            self._states.append((q[k], v[k]))
        if not np.all(np.isfinite(v)):
            raise MetaRLError(
                f"plant: the simulation of '{self.robot.name}' diverged at {self.time:.3f} s; the task is "
                f"{self._task.to_dict()}"
            )
        applied *= self._task.motor_strength
        self._applied = applied[-1]
        self._count_violations(q, v, overdriven=bool(np.any(np.abs(effort) > limit + _LIMIT_TOLERANCE)))
        return self._sense(duration_s)

    def _apply(self, law: StepLaw, command: Array) -> None:
        layout, data = self._layout, self._data
        layout.model.dof_frictionloss[layout.v] = law.friction(data.qvel[None, layout.v], command[None])[0]
        data.qfrc_applied[layout.v] = law.force(data.qpos[None, layout.q])[0]

    def _use_errors(self) -> None:
        """Take the sensor errors of the task; without any, no noise is drawn for them."""
        errors = self.sensor_errors(self._task)
        if self._errors is not None:
            self._errors.set([errors])
        elif errors is not None:
            self._errors = ErroneousSensors([errors], [self._seed], self.robot.dof)

    def _acting(self, command: Array) -> Array:
        return command if self._errors is None else self._errors.acting(command[None])[0]

    def _command_in_effect(self) -> Array:
        latest = self._steps - self._command_steps
        return next(command for issued, command in reversed(self._issued) if issued <= latest)

    def _forget(self) -> None:
        """Drop the commands that are older than any delay."""
        oldest = self._steps - whole_steps(MAX_DELAY_S, self._dt)
        while self._issued[1:2] and self._issued[1][0] <= oldest:
            del self._issued[0]

    def _sense(self, since_s: float) -> State:
        """The measurement now, since_s after the last one."""
        noise = self._rng.standard_normal(self.robot.dof)
        q, v = self._states[-1 - min(self._sensor_steps, len(self._states) - 1)]
        step, errors = self._task.position_resolution, self._errors
        q = q if errors is None else errors.position(q[None], v[None])[0]
        measured = np.round(q / step) * step if step > 0.0 else q.copy()
        v = v if errors is None else errors.velocity(measured[None], v[None], since_s)[0]
        state = State(measured, v + self._task.velocity_noise * noise)
        if errors is not None:
            many = errors.delivered(State(state.q[None], state.v[None]))
            state = State(many.q[0], many.v[0])
        if errors is None or not errors.lost[0]:
            self._measured_at = self._steps - self._sensor_steps
        self._measured = state
        return self._measured

    def _count_violations(self, q: Array, v: Array, overdriven: bool) -> None:
        robot = self.robot
        torque = np.full(len(q), overdriven)
        velocity = np.any(np.abs(v) > robot.velocity_limit + _LIMIT_TOLERANCE, axis=1)
        outside = (q < robot.position_lower - _LIMIT_TOLERANCE) | (q > robot.position_upper + _LIMIT_TOLERANCE)
        position = np.any(outside, axis=1)
        self._counts += [torque.sum(), velocity.sum(), position.sum(), (torque | velocity | position).sum()]

    def set_task(self, task: Any) -> None:
        """Change the physical conditions during the motion; positions and velocities do not jump."""
        before, layout = self._task, self.model_of(task)
        if layout is not self._layout:
            self._move_to(layout)
        self._install(task)
        self._use_errors()
        self.started(before)

    def _move_to(self, layout: TaskModel) -> None:
        old_layout, old = self._layout, self._data
        self._use(layout)
        self._data.time = old.time
        self._data.qpos[self._layout.q] = old.qpos[old_layout.q]
        self._data.qvel[self._layout.v] = old.qvel[old_layout.v]

    def measure(self) -> State:
        """Return the last measurement again: delayed, quantised, noisy."""
        return self._measured

    @property
    def task(self) -> Any:
        return self._task

    @property
    def time(self) -> float:
        """Seconds since the reset."""
        return self._steps * self._dt

    @property
    def stamp(self) -> float:
        """Time of the present measurement as a driver stamps it: that of sensing less the sensor delay.

        It is negative just after a reset. A lost measurement has the stamp of the one before.
        """
        return self._measured_at * self._dt

    @property
    def truth(self) -> State:
        """Present true state."""
        q, v = self._states[-1]
        return State(q.copy(), v.copy())

    @property
    def acceleration(self) -> Array:
        """Present true acceleration (n,), under the command in effect."""
        self._refresh()
        self._scratch.ctrl[self._layout.u] = self._command_in_effect()
        mujoco.mj_forward(self._layout.model, self._scratch)
        return self._scratch.qacc[self._layout.v].copy()

    @property
    def crashed(self) -> bool:
        """Always False: such a robot does not crash."""
        return False

    @property
    def applied_effort(self) -> Array:
        """Effort (n,) of the motors over the last physics step."""
        return self._applied.copy()

    @property
    def violations(self) -> Violations:
        """Counts since the reset.

        A command beyond the effort limit counts as a torque violation, although the plant clamps it.
        """
        return Violations(*(int(count) for count in self._counts))

    def energy(self) -> tuple[float, float]:
        """Present (potential, kinetic) energy of the model [J]."""
        self._refresh()
        model, data = self._layout.model, self._scratch
        mujoco.mj_fwdPosition(model, data)
        mujoco.mj_fwdVelocity(model, data)
        mujoco.mj_energyPos(model, data)
        mujoco.mj_energyVel(model, data)
        return float(data.energy[0]), float(data.energy[1])

    def _refresh(self) -> None:
        for name in ("qpos", "qvel", "qfrc_applied"):
            getattr(self._scratch, name)[:] = getattr(self._data, name)
        self._scratch.qpos[self._layout.q] = self._states[-1][0]

    def _holding_command(self) -> Array:
        """Motor command that gives the robot zero acceleration at rest here, without friction."""
        model, scratch = self._layout.model, self._scratch
        self._refresh()
        scratch.qvel[:] = 0.0
        mujoco.mj_forward(model, scratch)
        force = scratch.qfrc_bias[self._layout.v] - scratch.qfrc_passive[self._layout.v]
        limit = self.robot.effort_limit
        return np.clip(force / np.maximum(self._task.motor_strength, 1e-3), -limit, limit)

    def _checked(self, what: str, values: Array) -> Array:
        array = np.asarray(values, float)
        if array.shape != (self.robot.dof,):
            raise SignalError(
                f"plant: {what} has shape {array.shape}; {self.robot.name} needs ({self.robot.dof},): "
                f"{list(self.robot.channel_names)}"
            )
        if not np.all(np.isfinite(array)):
            raise SignalError(f"plant: {what} holds a value that is not finite: {array.tolist()}")
        return array
