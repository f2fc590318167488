# SPDX-License-Identifier: Apache-2.0
"""Recorded flights written by the writers of others: rosbag2 (mcap, sqlite3) and tables."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rosbags.rosbag2 import StoragePlugin, Writer

from metarl_robot.core import rotation
from metarl_robot.core.tables import Table
from metarl_robot.robots.quadrotor.description import Quadrotor
from tests.logs.made_flight import Flight
from tests.logs.made_log import STORE

Array = NDArray[np.float64]
EPOCH_NS = 1_764_000_000_000_000_000


@dataclass(frozen=True)
class Style:
    """How a flight is written.

    pose_every: one odometry for as many samples. rotors: table (named, in `order`, as our nodes write it), or array
    (the last rotor first, without names) of `quantity`: thrust, speed [rpm] or collective [N]. mcap: storage.
    imu: whether there is one. lost: share of the messages that are lost. late_s: standard deviation of the time of
    reception.
    """

    pose_every: int = 2
    rotors: str = "table"
    order: tuple[int, ...] = (2, 0, 3, 1)
    quantity: str = "thrust"
    mcap: bool = True
    imu: bool = True
    lost: float = 0.0
    late_s: float = 0.0
    odometry: str = "/odom"
    commands: str = "/thrust_controller/commands"


def _make(name: str, *parts: Any) -> Any:
    return STORE.types[name](*parts)


def _header(stamp_ns: int, frame: str) -> Any:
    time = _make("builtin_interfaces/msg/Time", stamp_ns // 10**9, stamp_ns % 10**9)
    return _make("std_msgs/msg/Header", time, frame)


def _vector(values: Array, name: str = "Vector3") -> Any:
    return _make(f"geometry_msgs/msg/{name}", *values)


def odometry(stamp_ns: int, q: Array, v: Array) -> Any:
    """A nav_msgs/Odometry: pose in the world, twist in the body."""
    place = _make("geometry_msgs/msg/Pose", _vector(q[:3], "Point"), _vector(q[[4, 5, 6, 3]], "Quaternion"))
    twist = _make("geometry_msgs/msg/Twist", _vector(rotation.rotate_back(q[3:], v[:3])), _vector(v[3:]))
    pose = _make("geometry_msgs/msg/PoseWithCovariance", place, np.zeros(36))
    moving = _make("geometry_msgs/msg/TwistWithCovariance", twist, np.zeros(36))
    return _make("nav_msgs/msg/Odometry", _header(stamp_ns, "odom"), "base_link", pose, moving)


def imu(stamp_ns: int, rate: Array, force: Array) -> Any:
    """A sensor_msgs/Imu without attitude."""
    none = np.zeros(9)
    turned = _vector(np.array([0.0, 0.0, 0.0, 1.0]), "Quaternion")
    return _make(
        "sensor_msgs/msg/Imu", _header(stamp_ns, "base_link"), turned, none, _vector(rate), none, _vector(force), none
    )


def numbers(values: Array, labels: tuple[str, str] | None = None) -> Any:
    """A std_msgs/Float64MultiArray; labels: of a named table of one row."""
    dimensions = [] if labels is None else [(labels[0], 1, len(values)), (labels[1], len(values), len(values))]
    parts = [_make("std_msgs/msg/MultiArrayDimension", *each) for each in dimensions]
    return _make("std_msgs/msg/Float64MultiArray", _make("std_msgs/msg/MultiArrayLayout", parts, 0), values)


def commands(robot: Quadrotor, style: Style, stamp_ns: int, thrust: Array) -> Any:
    """The message of a command, or of measured speeds."""
    if style.rotors == "table":
        order = list(style.order)
        names = tuple(robot.channel_names[i] for i in order)
        return numbers(thrust[order], Table(stamp_ns, ("effort",), names, thrust[None, order], "test").labels)
    if style.quantity == "collective":
        return _make("std_msgs/msg/Float64", float(thrust.sum()))
    values = robot.speeds(thrust) * 60.0 / (2.0 * np.pi) if style.quantity == "speed" else thrust
    return numbers(np.roll(values, 1))


def write_flight_bag(folder: Path, robot: Quadrotor, flight: Flight, style: Style | None = None) -> Path:
    """A rosbag2 folder with odometry, IMU and commands of a flight."""
    style, rng = style or Style(), np.random.default_rng(1)
    storage = StoragePlugin.MCAP if style.mcap else StoragePlugin.SQLITE3
    with Writer(folder, version=9, storage_plugin=storage) as writer:
        opened: dict[str, Any] = {}

        def write(topic: str, stamp_ns: int, message: Any) -> None:
            kind = message.__msgtype__
            if topic not in opened:
                opened[topic] = writer.add_connection(topic, kind, typestore=STORE)
            if rng.random() >= style.lost:
                late_ns = round(1e9 * abs(style.late_s * rng.normal()))
                writer.write(opened[topic], stamp_ns + late_ns, STORE.serialize_cdr(message, kind))

        for k, time_s in enumerate(flight.time_s):
            stamp_ns = EPOCH_NS + round(time_s * 1e9)
            if style.imu:
                write("/imu/data", stamp_ns, imu(stamp_ns, flight.v[k, 3:], flight.force[k]))
            if k % style.pose_every == 0:
                write(style.odometry, stamp_ns, odometry(stamp_ns, flight.q[k], flight.v[k]))
            write(style.commands, stamp_ns, commands(robot, style, stamp_ns, flight.thrust[k]))
    return folder


def write_flight_table(path: Path, names: tuple[str, ...], *columns: Array) -> Path:
    """A table of text with a line for each row of the columns side by side."""
    np.savetxt(path, np.column_stack(columns), delimiter=",", header=",".join(names), comments="")
    return path
