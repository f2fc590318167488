# SPDX-License-Identifier: Apache-2.0
"""Many simulated ground vehicles at once, each under its own task: GroundPlant, vectorised with mujoco.batch.

Each moves like a GroundPlant with the same task, seed, start and commands, to rounding. Tasks are constant, with forces
of the tyre model (planar_chassis.py) and exact odometry with noise and latency.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import mujoco
import numpy as np
from mujoco.batch import Batch
from numpy.typing import NDArray

from metarl_robot.compile.compiled import NumpyFunction, compile_functions
from metarl_robot.core.errors import MetaRLError
from metarl_robot.core.signals import State
from metarl_robot.robots.ground.description import GRAVITY_M_S2, Ground
from metarl_robot.sim.ground.chassis import NO_INERTIA, PAYLOAD, add_payload
from metarl_robot.sim.ground.task import FORCE, GroundTask, PatchedTask
from metarl_robot.sim.ground.tyres import ground_of, tyres_function
from metarl_robot.sim.noise import NoiseStreams
from metarl_robot.sim.physics_time import PHYSICS_DT_S, velocity_age, whole_steps

Array = NDArray[np.float64]

_TOGETHER = 16
"""Vehicles whose tyres one compiled call computes."""
_AGE_S = velocity_age(PHYSICS_DT_S)


class GroundBatch:
    """N vehicles under N tasks, stepped together at the robot's control rate.

    seeds: of the sensor noise. truth: present states, (N, 3) each.

    Raises:
        MetaRLError: a task has wheels in contact, patches, or sensors other than exact odometry.
    """

    def __init__(self, robot: Ground, tasks: Sequence[GroundTask], seeds: Sequence[int]) -> None:
        for task in tasks:
            if task.tyre != FORCE or task.wheel_odometry or isinstance(task, PatchedTask):
                raise MetaRLError(
                    f"batch: tasks must have tyre '{FORCE}', no patch and exact odometry; use GroundPlant for {task}"
                )
        self._robot, self._seeds, self.count = robot, list(seeds), len(tasks)
        self._batch = Batch(_model(robot), nsim=self.count, nthread=1)
        self._q, self._v, self._force = (self._batch.bind(name) for name in ("qpos", "qvel", "qfrc_applied"))
        self._tyres = _TyresOfMany(robot, tasks)
        self._substeps = round(robot.control_period_s / PHYSICS_DT_S)
        self._left = np.exp(-PHYSICS_DT_S / robot.lag_s)
        self._most = robot.effort_rate_limit * PHYSICS_DT_S
        self._offset, self._strength = _actuation(robot, tasks)
        self._age = _ages(robot, tasks)
        self._sensor_steps = np.array([whole_steps(task.sensor_delay_s, PHYSICS_DT_S) for task in tasks])
        self._noise_std = np.array([_noise_of(task) for task in tasks])
        self._install(tasks)

    def _install(self, tasks: Sequence[GroundTask]) -> None:
        """Loads, and slopes as tilts of gravity; as chassis.put_load."""
        body = mujoco.mj_name2id(_model(self._robot), mujoco.mjtObj.mjOBJ_BODY, PAYLOAD)
        mass, place, inertia = (self._batch.expand(f"body_{name}") for name in ("mass", "ipos", "inertia"))
        mass[:, body] = [max(task.payload_mass_kg, NO_INERTIA) for task in tasks]
        place[:, body] = [task.payload_position_m for task in tasks]
        inertia[:, body] = NO_INERTIA
        up = np.tan([task.slope_rad for task in tasks])
        down = np.column_stack([up, np.ones(len(up))]) / np.sqrt(1.0 + np.square(up).sum(axis=1))[:, None]
        self._batch.expand("opt.gravity")[:] = -GRAVITY_M_S2 * down
        self._batch.set_const()

    def reset(self, q: Array, v: Array) -> State:
        """Roll freely in states q, v (N, 3); returns the first measurements, (N, 3) each."""
        self._batch.reset()
        self._q[:], self._v[:] = q + _AGE_S * v, v
        self._tyres.reset(np.cos(q[:, 2]) * v[:, 0] + np.sin(q[:, 2]) * v[:, 1])
        self._acting = np.zeros((self.count, self._robot.nu))
        self._commands = np.zeros((1, *self._acting.shape))
        self._noise = NoiseStreams(self._seeds, 6)
        self._past = np.repeat(np.concatenate([q, v], axis=1)[None], self._sensor_steps.max() + 1, axis=0)
        self._now = 0
        return self._sense()

    def step(self, effort: Array) -> State:
        """Issue commands (N, nu) and run for one control period; returns the measurements at its end, (N, 3) each."""
        within = np.clip(effort, self._robot.effort_lower, self._robot.effort_limit)
        self._commands = np.concatenate([self._commands[-self._age.max() - 1 :], within[None]])
        rows, channels = np.ogrid[: self.count, : self._robot.nu]
        for k in range(self._substeps):
            ages = np.minimum(self._age[k], len(self._commands) - 1)
            self._move(self._commands[len(self._commands) - 1 - ages, rows, channels])
        return self._sense()

    def _move(self, command: Array) -> None:
        """One physics step."""
        change = (1.0 - self._left) * (command - self._acting)
        self._acting = self._acting + np.clip(change, -self._most, self._most)
        state = self.truth
        self._force[:] = self._tyres.forces(state.q, state.v, self._strength * self._acting + self._offset)
        self._batch.step(nstep=1)
        self._now = (self._now + 1) % len(self._past)
        self._past[self._now, :, :3], self._past[self._now, :, 3:] = self._q - _AGE_S * self._v, self._v

    def _sense(self) -> State:
        shown = self._past[(self._now - self._sensor_steps) % len(self._past), np.arange(self.count)]
        measured = shown + self._noise_std * self._noise.next()
        return State(measured[:, :3], measured[:, 3:])

    @property
    def truth(self) -> State:
        return State(self._q - _AGE_S * self._v, self._v.copy())


class _TyresOfMany:
    """Tyres of N vehicles; see tyres.Tyres."""

    def __init__(self, robot: Ground, tasks: Sequence[GroundTask]) -> None:
        mapped = tyres_function(robot, PHYSICS_DT_S).map(_TOGETHER)
        self._advance = NumpyFunction(compile_functions({"tyres": mapped})["tyres"], _TOGETHER)
        self._parts = [slice(first, first + _TOGETHER) for first in range(0, len(tasks), _TOGETHER)]
        self._radius_m, self._count = robot.wheel_radius_m, len(tasks)
        padded = _TOGETHER * len(self._parts)
        self._ground = np.zeros((padded, len(ground_of(tasks[0]))))
        self._ground[: self._count] = [ground_of(task) for task in tasks]
        self._ground[self._count :] = self._ground[0]
        self._speeds, self._last = np.zeros((padded, len(robot.track.positions))), np.zeros((padded, 3))
        self._inputs = [np.zeros((padded, size)) for size in (3, 3, robot.nu)]

    def reset(self, forward_m_s: Array) -> None:
        """Roll freely at these speeds (N,)."""
        self._speeds[: self._count] = forward_m_s[:, None] / self._radius_m
        self._last[:] = 0.0

    def forces(self, q: Array, v: Array, acting: Array) -> Array:
        """Generalised forces (N, 3) [N, N, Nm; world] over one step; moves the wheels on."""
        made = np.empty((len(self._last), 3))
        for own, given in zip(self._inputs, (q, v, acting), strict=True):
            own[: self._count] = given
        for part in self._parts:
            moving = [own[part] for own in self._inputs]
            found = self._advance(*moving, self._speeds[part], self._last[part], self._ground[part])
            made[part], self._speeds[part], self._last[part] = found
        return made[: self._count]


def _actuation(robot: Ground, tasks: Sequence[GroundTask]) -> tuple[Array, Array]:
    """What is added to the acting efforts (N, nu), and their factors (N, nu)."""
    strength = np.where(robot.torque_channels, np.array([[task.motor_strength] for task in tasks]), 1.0)
    offset = np.where(robot.torque_channels, 0.0, np.array([[task.steering_offset_rad] for task in tasks]))
    return offset, strength


def _ages(robot: Ground, tasks: Sequence[GroundTask]) -> NDArray[np.intp]:
    """Age (substeps, N, nu) of the command in effect in each physics step of a control period, counted in commands."""
    substeps = round(robot.control_period_s / PHYSICS_DT_S)
    delays = np.array([[whole_steps(task.command_delay_s, PHYSICS_DT_S)] for task in tasks])
    later = np.array([[whole_steps(task.steering_delay_s, PHYSICS_DT_S)] for task in tasks])
    delays = delays + np.where(robot.torque_channels, 0, later)
    return np.asarray(-((np.arange(substeps)[:, None, None] - delays) // substeps))


def _noise_of(task: GroundTask) -> list[float]:
    return [*(task.position_noise_m,) * 2, task.yaw_noise_rad, *(task.velocity_noise_m_s,) * 2,
            task.yaw_rate_noise_rad_s]  # fmt: skip


@lru_cache(maxsize=8)
def _model(robot: Ground) -> mujoco.MjModel:
    spec = robot.mj_spec()
    spec.option.timestep = PHYSICS_DT_S
    spec.option.disableflags |= int(mujoco.mjtDisableBit.mjDSBL_AUTORESET)
    add_payload(spec, robot.base_frame)
    return spec.compile()
