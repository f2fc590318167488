# SPDX-License-Identifier: Apache-2.0
"""A recorded flight of a simulated quadrotor unlike the defaults, and a writer of PX4's ULog format.

Format: docs.px4.io, "ULog File Format". Messages: FLAG BITS, FORMAT, PARAMETER; SUBSCRIPTION, DATA.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from metarl_robot.control.factory import make_controller
from metarl_robot.core import rotation
from metarl_robot.logs.aerial_frames import enu, flu, flu_to_enu
from metarl_robot.robots.quadrotor.description import Quadrotor
from metarl_robot.robots.quadrotor.random_trajectories import FlightRange, drawn_flight
from metarl_robot.sim.quadrotor.plant import QuadrotorPlant
from metarl_robot.sim.quadrotor.tasks import QuadrotorTask

Array = NDArray[np.float64]
_TYPES = {"uint64_t": "Q", "uint32_t": "I", "uint16_t": "H", "uint8_t": "B", "float": "f"}
_BEGIN_US = 40_000_000


@dataclass(frozen=True, eq=False)
class Flight:
    """time_s (K,), q (K, 7), v (K, 6), force (K, 3) specific [body], thrust (K, 4) commanded from each time on [N]."""

    time_s: Array
    q: Array
    v: Array
    force: Array
    thrust: Array


def fly(
    robot: Quadrotor,
    task: QuadrotorTask,
    seed: int,
    duration_s: float = 12.0,
    hz: float = 200.0,
    by_truth: bool = False,
    shape: FlightRange | None = None,
) -> Flight:
    """Fly a random trajectory under a geometric controller.

    by_truth: control knows the true state, as from a better estimator than what is recorded. shape: of the trajectory.
    """
    rng, period_s = np.random.default_rng(seed), 1.0 / hz
    reference, controller = (
        drawn_flight(robot, rng, duration_s, flight=shape or FlightRange())(),
        make_controller(robot, "se3"),
    )
    plant = QuadrotorPlant(robot, task, seed)
    start = reference.sample(np.array([0.0]))
    state, rows = plant.reset(start.q[0], start.v[0]), []
    for _ in range(round(duration_s * hz)):
        command = controller.step(plant.time, plant.truth if by_truth else state, reference)
        rows.append((plant.time, state.q, state.v, state.specific_force, command.effort))
        state = plant.step(command.effort, period_s)
    return Flight(*(np.array(column) for column in zip(*rows, strict=True)))


class UlogWriter:
    """Writes a ULog file.

    Arguments:
        parameters: by name; float or int.
    """

    def __init__(self, path: Path, parameters: Mapping[str, float | int] | None = None) -> None:
        self._path, self._topics = path, 0
        self._definitions, self._data = bytearray(), bytearray()
        self._message("B", bytes(40), self._definitions)
        for name, value in (parameters or {}).items():
            key = f"{'int32_t' if isinstance(value, int) else 'float'} {name}".encode()
            packed = struct.pack("<i" if isinstance(value, int) else "<f", value)
            self._message("P", bytes([len(key)]) + key + packed, self._definitions)

    @staticmethod
    def _message(kind: str, content: bytes, to: bytearray) -> None:
        to += struct.pack("<HB", len(content), ord(kind)) + content

    def topic(self, name: str, time_s: Array, fields: Sequence[tuple[str, str, Array]]) -> None:
        """Write a topic: fields are (type, name, (K,) or (K, size)), beside its timestamp."""
        columns = [("uint64_t", "timestamp", _BEGIN_US + np.round(1e6 * time_s).astype(np.uint64)), *fields]
        sizes = ["" if values.ndim == 1 else f"[{values.shape[1]}]" for _, _, values in columns]
        text = "".join(f"{kind}{size} {field};" for (kind, field, _), size in zip(columns, sizes, strict=True))
        self._message("F", f"{name}:{text}".encode(), self._definitions)
        self._message("A", struct.pack("<BH", 0, self._topics) + name.encode(), self._data)
        packing = "<" + "".join(
            _TYPES[kind] * (1 if values.ndim == 1 else values.shape[1]) for kind, _, values in columns
        )
        for k in range(len(time_s)):
            flat = [each for _, _, values in columns for each in np.atleast_1d(values[k]).tolist()]
            self._message("D", struct.pack("<H", self._topics) + struct.pack(packing, *flat), self._data)
        self._topics += 1

    def write(self) -> Path:
        """Write the file."""
        head = b"ULog\x01\x12\x35\x01" + struct.pack("<Q", _BEGIN_US)
        self._path.write_bytes(head + self._definitions + self._data)
        return self._path


def write_ulog(
    path: Path,
    robot: Quadrotor,
    flight: Flight,
    pose: str = "odometry",
    motors: str = "share",
    thrust_factor: float = 0.4,
    ours: Collection[str] = (),
    declared: int | None = None,
) -> Path:
    """A PX4 log of a flight: poses at 100 Hz, sensors at the flight's rate, motors in an order of their own.

    pose: odometry, body (velocities in body axes) or local (position and attitude on topics of their own). motors:
    share or pulse. ours: signals in ENU and FLU axes. declared: velocity_frame, whatever the velocities are.
    """
    order = [3, 0, 2, 1]  # motor i of the log is the robot's rotor order[i]
    places = robot.rotor_positions[order] * np.array([1.0, -1.0, -1.0])
    parameters: dict[str, float | int] = {"THR_MDL_FAC": thrust_factor, "PWM_MAIN_MIN1": 1075, "PWM_MAIN_MAX1": 1950}
    parameters |= {f"CA_ROTOR{i}_P{axis}": float(places[i, k]) for i in range(4) for k, axis in enumerate("XY")}
    log, time_s = UlogWriter(path, parameters), flight.time_s
    _write_pose(log, flight, pose, ours, declared)
    imu = {"rates": ("gyro_rad", flight.v[:, 3:]), "specific_force": ("accelerometer_m_s2", flight.force)}
    sensors = [("float", name, values if key in ours else flu(values)) for key, (name, values) in imu.items()]
    log.topic("sensor_combined", time_s, sensors)
    _write_motors(log, robot, time_s, flight.thrust[:, order], motors, thrust_factor)
    return log.write()


def _write_pose(log: UlogWriter, flight: Flight, pose: str, ours: Collection[str], declared: int | None) -> None:
    at = slice(None, None, 2)
    time_s, q, v = flight.time_s[at], flight.q[at], flight.v[at]
    attitude = q[:, 3:] if "attitude" in ours else flu_to_enu(q[:, 3:])  # its own inverse but for the sign
    position = q[:, :3] if "position" in ours else enu(q[:, :3])
    velocity = v[:, :3] if "velocity" in ours else enu(v[:, :3])
    if pose == "local":
        columns = [*zip("xyz", position.T, strict=True), *zip(("vx", "vy", "vz"), velocity.T, strict=True)]
        log.topic("vehicle_local_position", time_s[::2], [("float", name, each[::2]) for name, each in columns])
        log.topic("vehicle_attitude", time_s, [("float", "q", attitude)])
        return
    if pose == "body":
        velocity = rotation.rotate_back(attitude, velocity)
    frame = np.full(len(time_s), declared or (3 if pose == "body" else 1))
    fields = [
        ("uint64_t", "timestamp_sample", _BEGIN_US + np.round(1e6 * time_s).astype(np.uint64)),
        ("float", "position", position),
        ("float", "q", attitude),
        ("float", "velocity", velocity),
        ("float", "angular_velocity", flu(v[:, 3:])),
        ("uint8_t", "velocity_frame", frame),
    ]
    log.topic("vehicle_odometry", time_s, fields)


def _write_motors(log: UlogWriter, robot: Quadrotor, time_s: Array, thrust: Array, motors: str, factor: float) -> None:
    share = thrust / robot.effort_limit
    if motors == "share":
        control = np.hstack([share, np.full((len(share), 8), np.nan)])
        log.topic("actuator_motors", time_s, [("float", "control", control)])
    elif motors == "pulse":
        signal = (-(1.0 - factor) + np.sqrt((1.0 - factor) ** 2 + 4.0 * factor * share)) / (2.0 * factor)
        output = np.hstack([1075.0 + 875.0 * signal, np.zeros((len(share), 12))])
        log.topic("actuator_outputs", time_s, [("float", "output", output)])
