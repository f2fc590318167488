# SPDX-License-Identifier: Apache-2.0
"""Recordings of a simulated arm unlike the defaults, written by the writers of others: CSV, MCAP, sqlite3."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from metarl_robot.core.robot import Robot
from metarl_robot.robots.arm.dynamics import ArmDynamics
from metarl_robot.sim.arm.model_errors import FrictionLaw, draw_links
from metarl_robot.sim.arm.plant import ArmPlant
from metarl_robot.sim.arm.task import Task
from metarl_robot.sim.payload.body import Payload
from metarl_robot.sim.sensor_errors import SensorErrors

Array = NDArray[np.float64]

STORE = get_typestore(Stores.LATEST)
_EPOCH_NS = 1_764_000_000_000_000_000
_TICK_S = 1e-3
_NATURAL_RAD_S = 12.0


@dataclass(frozen=True)
class Machine:
    """How a recorded machine differs from the nominal model.

    mass_kg, com_m: payload. coulomb, viscous: friction over the effort limit [1, s]. stribeck: F_s over Coulomb.
    strength: spread of the motors. effort_noise_nm, position_noise_rad, velocity_noise_rad_s: of the recorded signals.
    jitter_s: of the stamps. dropped: share of the rows. speed: amplitude of the motion. links: largest share by which
    masses, centres, inertias and armatures differ.
    """

    hz: float = 500.0
    mass_kg: float = 0.0
    com_m: tuple[float, float, float] = (0.02, -0.03, 0.05)
    coulomb: float = 0.01
    viscous: float = 0.004
    stribeck: float = 0.0
    strength: float = 0.0
    effort_noise_nm: float = 0.1
    position_noise_rad: float = 2e-5
    velocity_noise_rad_s: float = 4e-3
    jitter_s: float = 2e-4
    dropped: float = 0.0
    speed: float = 1.0
    delay_s: float = 0.003
    links: float = 0.0


@dataclass(frozen=True, eq=False)
class Made:
    """time_s (K,), q, v, effort (K, n) as recorded. mass_kg: the true payload."""

    time_s: Array
    q: Array
    v: Array
    effort: Array
    mass_kg: float = 0.0
    joints: tuple[str, ...] = field(default_factory=tuple)


def make(robot: Robot, machine: Machine, seed: int, duration_s: float = 15.0, task: Task | None = None) -> Made:
    """Move the machine along sums of sines under computed torque at 1 kHz, and record it.

    task: the machine as another recording drew it; None: drawn anew.
    """
    rng, n = np.random.default_rng(seed), robot.dof
    plant = ArmPlant(robot, task or draw_task(robot, machine, rng), seed)
    target = _motion(robot, machine, rng, duration_s)
    state, dynamics, rows = plant.reset(target[0][0], target[1][0]), ArmDynamics(robot), []
    stride = round(1.0 / (machine.hz * _TICK_S))
    for k in range(len(target[0])):
        q, v, a = (each[k] for each in target)
        wanted = a + 2.0 * _NATURAL_RAD_S * (v - state.v) + _NATURAL_RAD_S**2 * (q - state.q)
        effort = np.clip(dynamics.inverse_dynamics(state.q, state.v, wanted), -robot.effort_limit, robot.effort_limit)
        if k % stride == 0:
            rows.append((k * _TICK_S, state.q, state.v, effort))
        state = plant.step(effort, _TICK_S)
    time_s, q, v, effort = (np.array(column) for column in zip(*rows, strict=True))
    time_s = time_s + np.minimum(np.abs(machine.jitter_s * rng.normal(size=len(time_s))), 0.4 / machine.hz)
    kept = rng.random(len(time_s)) >= machine.dropped
    effort = effort + machine.effort_noise_nm * rng.normal(size=(len(time_s), n))
    return Made(time_s[kept], q[kept], v[kept], effort[kept], machine.mass_kg, robot.channel_names)


def draw_task(robot: Robot, machine: Machine, rng: np.random.Generator) -> Task:
    """Draw a machine."""
    limit, n = robot.effort_limit, robot.dof
    coulomb = machine.coulomb * limit * rng.uniform(0.5, 1.5, n)
    law = FrictionLaw(machine.stribeck * coulomb, np.full(n, 0.05), np.zeros(n)) if machine.stribeck else None
    inertia = machine.mass_kg * np.array([1.5e-3, 1.2e-3, 1e-3, 0.0, 0.0, 0.0])
    return Task(
        Payload(machine.mass_kg, np.array(machine.com_m), inertia) if machine.mass_kg else Payload(),
        coulomb,
        machine.viscous * limit * rng.uniform(0.5, 1.5, n),
        1.0 + machine.strength * rng.uniform(-1.0, 1.0, n),
        command_delay_s=machine.delay_s,
        velocity_noise_rad_s=machine.velocity_noise_rad_s,
        friction_law=law,
        links=draw_links(robot, rng, machine.links) if machine.links else None,
        sensor_errors=SensorErrors(position_noise=machine.position_noise_rad),
    )


def _motion(robot: Robot, machine: Machine, rng: np.random.Generator, duration_s: float) -> tuple[Array, Array, Array]:
    """q, v, a (T, n) of four sines for each joint, within half of its range about home."""
    grid, n = np.arange(0.0, duration_s, _TICK_S)[:, None, None], robot.dof
    omega = 2.0 * np.pi * np.array([0.13, 0.29, 0.47, 0.61])
    room = np.minimum(robot.home - robot.position_lower, robot.position_upper - robot.home)
    amplitude = machine.speed * np.minimum(0.5 * room, 0.6)[:, None] * rng.uniform(0.15, 0.45, (n, 4))
    angle = omega * grid + rng.uniform(0.0, 2.0 * np.pi, (n, 4))
    waves = amplitude * np.sin(angle), amplitude * omega * np.cos(angle), -amplitude * omega**2 * np.sin(angle)
    q, v, a = (wave.sum(-1) for wave in waves)
    return robot.home + q, v, a


def write_csv(path: Path, made: Made, names: tuple[str, ...], *signals: Array) -> Path:
    """Columns `time_s` and names, with the signals (K, n) side by side."""
    table = np.column_stack([made.time_s, *signals])
    np.savetxt(path, table, delimiter=",", header=",".join(("time_s", *names)), comments="")
    return path


def default_names(robot: Robot) -> tuple[str, ...]:
    """Columns that need no map."""
    coordinates = robot.coordinates
    return (*coordinates.q, *coordinates.v, *coordinates.effort)


def write_bag(
    folder: Path,
    made: Made,
    mcap: bool = True,
    order: list[int] | None = None,
    extra: tuple[str, ...] = (),
    velocity: bool = True,
    topic: str = "/joint_states",
    names: tuple[str, ...] = (),
) -> Path:
    """A rosbag2 folder with JointState messages; joints in another order, with further joints."""
    types = (
        STORE.types[name]
        for name in ("sensor_msgs/msg/JointState", "std_msgs/msg/Header", "builtin_interfaces/msg/Time")
    )
    joint_state, header, time = types
    order = list(range(len(made.joints))) if order is None else order
    named = [*((names or made.joints)[i] for i in order), *extra]
    more, none = np.full(len(extra), 0.02), np.zeros(0)
    with Writer(folder, version=9, storage_plugin=StoragePlugin.MCAP if mcap else StoragePlugin.SQLITE3) as writer:
        connection = writer.add_connection(topic, joint_state.__msgtype__, typestore=STORE)
        for stamp_s, q, v, effort in zip(made.time_s, made.q, made.v, made.effort, strict=True):
            stamp = _EPOCH_NS + round(stamp_s * 1e9)
            values = [np.concatenate([each[order], more]) for each in (q, v, effort)]
            message = joint_state(
                header(time(stamp // 10**9, stamp % 10**9), ""),
                named,
                values[0],
                values[1] if velocity else none,
                values[2],
            )
            writer.write(connection, stamp, STORE.serialize_cdr(message, joint_state.__msgtype__))
    return folder
