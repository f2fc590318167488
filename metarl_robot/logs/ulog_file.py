# SPDX-License-Identifier: Apache-2.0
"""A PX4 ULog as a recording of a quadrotor (`pyulog`; format: docs.px4.io, "ULog File Format").

| signal | topics, the first that the log has |
|---|---|
| pose, velocity | vehicle_odometry; vehicle_local_position with vehicle_attitude |
| rates, specific force | sensor_combined; rates else from vehicle_angular_velocity or vehicle_odometry |
| thrusts | esc_status (speeds); actuator_motors (normalised thrust); actuator_outputs (pulses, by THR_MDL_FAC) |

Samples are at the times of the attitude. Positions and velocities are interpolated, specific forces are means
since the last sample, rates and thrusts (after the motors' lag) are means about each time. Motors are matched to the
robot's rotors by their place: CA_ROTOR*_PX, _PY of the log, else the order of PX4's "Quadrotor X".
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.window_means import values_at
from metarl_robot.core.errors import one_line
from metarl_robot.core.robot import Robot
from metarl_robot.logs.aerial_frames import flu
from metarl_robot.logs.flight_map import AttitudeMap, PositionMap, UlogMap, VelocityMap
from metarl_robot.logs.flight_reading import attitudes, positions, velocities
from metarl_robot.logs.flight_samples import about, cleaned, held, means, since
from metarl_robot.logs.motor_thrusts import ROTORS, lagged, rotor_order, thrusts_of
from metarl_robot.logs.recording import COMMANDED, MEASURED, LogError, Recording, Repair

Array = NDArray[np.float64]

SUFFIX = ".ulg"
_NED, _BODY_FRD = 1, 3
"""Values of velocity_frame. With 2, FRD axes of any heading that are fixed in the world, positions are in the same."""
_US = 1e-6


def read_ulog(robot: Robot, path: Path, axes: UlogMap) -> Recording:
    """Read the flight in a ULog. axes: of its signals.

    Raises:
        LogError: it is none, pyulog is not installed, or a signal is missing; names the topics that there are.
    """
    repairs: list[Repair] = []
    log = _Topics(path)
    pose_s, position, attitude, velocity = _pose(log, axes, repairs)
    time_s, q, v = cleaned(path, pose_s, position, attitude, velocity, repairs)
    gyro, force = _imu(log, time_s, axes, repairs)
    if gyro is None:
        raise LogError(log.lacks("body rates", ("sensor_combined", "vehicle_angular_velocity")))
    effort, rotors = _thrusts(robot, log, time_s, repairs)
    begin = int(np.searchsorted(time_s, max(log.first_s, time_s[0])))
    if log.damaged:
        repairs.append(Repair("the file is damaged, and read around there", 1))
    if log.dropouts:
        repairs.append(Repair("times at which the logger lost messages", log.dropouts))
    rows = slice(begin, None)
    return Recording(
        str(path),
        time_s[rows] - time_s[begin],
        q[rows],
        np.hstack([v, gyro])[rows],
        effort[rows],
        tuple(repairs),
        None if force is None else force[rows],
        rotors,
    )


class _Topics:
    """The topics of a ULog as columns. first_s: when the last of the used topics begins."""

    def __init__(self, path: Path) -> None:
        try:
            from pyulog import ULog
        except ImportError as error:
            raise LogError(f"{path}: reading a ULog needs pyulog: pip install 'metarl_robot[logs]'") from error
        try:
            self._log = ULog(str(path))
        except Exception as error:  # on other bytes, the library may raise anything
            raise LogError(f"{path}: cannot be read as a ULog: {one_line(error) or type(error).__name__}") from error
        self._path, self.first_s = path, 0.0
        self.damaged, self.dropouts = self._log.file_corruption, len(self._log.dropouts)

    @property
    def parameters(self) -> Mapping[str, Any]:
        return self._log.initial_parameters

    def find(self, name: str) -> tuple[Array, Mapping[str, Any]] | None:
        """Times (K,) [s] and columns of a topic; None: the log has none, or fewer than two samples."""
        found = next((each for each in self._log.data_list if each.name == name and each.multi_id == 0), None)
        if found is None or len(found.data["timestamp"]) < 2:
            return None
        stamps = found.data.get("timestamp_sample", found.data["timestamp"])
        stamps = np.where(np.asarray(stamps) > 0, stamps, found.data["timestamp"]).astype(np.float64)
        rising = np.concatenate([[True], stamps[1:] > np.maximum.accumulate(stamps)[:-1]])
        return _US * stamps[rising], {key: np.asarray(column)[rising] for key, column in found.data.items()}

    def begins(self, time_s: Array) -> None:
        """A topic that is used begins then."""
        self.first_s = max(self.first_s, float(time_s[0]))

    def lacks(self, what: str, topics: tuple[str, ...]) -> str:
        """Words for a missing signal."""
        there = ", ".join(sorted({each.name for each in self._log.data_list})) or "none"
        return f"{self._path}: no {what}: none of the topics {', '.join(topics)} has samples; there are: {there}"


def _columns(data: Mapping[str, Any], *names: str) -> Array:
    return np.stack([np.asarray(data[name], dtype=np.float64) for name in names], axis=1)


def _vector(data: Mapping[str, Any], name: str, size: int = 3) -> Array:
    return _columns(data, *(f"{name}[{i}]" for i in range(size)))


def _pose(log: _Topics, axes: UlogMap, repairs: list[Repair]) -> tuple[Array, Array, Array, Array]:
    """Times (K,), position (K, 3) [ENU], attitude (K, 4) [FLU→ENU], velocity (K, 3) [ENU] at the attitude's times."""
    found = log.find("vehicle_odometry")
    if found is not None and "position[0]" in found[1]:
        log.begins(found[0])
        return _odometry(*found, axes, repairs)
    place, turned = log.find("vehicle_local_position"), log.find("vehicle_attitude")
    if place is None or turned is None:
        raise LogError(log.lacks("pose", ("vehicle_odometry", "vehicle_local_position with vehicle_attitude")))
    log.begins(place[0])
    log.begins(turned[0])
    within = turned[0] <= place[0][-1]
    time_s = turned[0][within]
    data = [_columns(place[1], *names) for names in (("x", "y", "z"), ("vx", "vy", "vz"))]
    position, velocity = (values_at(place[0], each, time_s) for each in data)
    repairs.append(Repair("positions at other times than attitudes: interpolated", len(time_s)))
    return time_s, *_turned(axes, position, _vector(turned[1], "q", 4)[within], velocity, axes.velocity or "ned")


def _odometry(
    time_s: Array, data: Mapping[str, Any], axes: UlogMap, repairs: list[Repair]
) -> tuple[Array, Array, Array, Array]:
    given, frames = axes.velocity, np.asarray(data.get("velocity_frame", np.full(len(time_s), _NED)))
    if given is None and np.all(frames == _BODY_FRD):
        repairs.append(Repair("velocities in body axes, as the log says: turned", len(time_s)))
        given = "frd"
    vectors = _vector(data, "position"), _vector(data, "q", 4), _vector(data, "velocity")
    return time_s, *_turned(axes, *vectors, given or "ned")


def _turned(
    axes: UlogMap, position: Array, attitude: Array, velocity: Array, of_velocity: Literal["enu", "ned", "flu", "frd"]
) -> tuple[Array, Array, Array]:
    """Position, attitude and velocity in ENU and FLU."""
    turned = attitudes(AttitudeMap(axes=axes.attitude), attitude)
    moving = velocities(VelocityMap(axes=of_velocity), velocity, turned, in_table=True)
    return positions(PositionMap(axes=axes.position), position), turned, moving


def _imu(log: _Topics, time_s: Array, axes: UlogMap, repairs: list[Repair]) -> tuple[Array | None, Array | None]:
    """Mean body rates about each time, specific forces since the last, (K, 3) [FLU]; None: the log has none."""

    def rates(values: Array) -> Array:
        return flu(values) if axes.rates == "frd" else values

    combined = log.find("sensor_combined")
    if combined is not None:
        log.begins(combined[0])
        gyro, force = (_vector(combined[1], name) for name in ("gyro_rad", "accelerometer_m_s2"))
        force = flu(force) if axes.specific_force == "frd" else force
        return (
            means(combined[0], rates(gyro), about(time_s), time_s),
            means(combined[0], force, since(time_s), time_s),
        )
    repairs.append(Repair("no accelerometer (sensor_combined): predictions do without", len(time_s)))
    for topic, field in (("vehicle_angular_velocity", "xyz"), ("vehicle_odometry", "angular_velocity")):
        found = log.find(topic)
        if found is not None and f"{field}[0]" in found[1] and np.isfinite(_vector(found[1], field)).all():
            log.begins(found[0])
            return means(found[0], rates(_vector(found[1], field)), about(time_s), time_s), None
    return None, None


def _thrusts(robot: Robot, log: _Topics, time_s: Array, repairs: list[Repair]) -> tuple[Array, str]:
    """Thrusts (K, n) [N] that act, in the robot's order: means about each time; and where they come from."""
    for topic, signal in ROTORS.items():
        found = log.find(topic)
        values = None if found is None else signal.of(found[1], robot.nu)
        if found is None or values is None or not np.any(values):
            continue
        log.begins(found[0])
        order = rotor_order(robot, log.parameters)
        thrusts, words = thrusts_of(robot, signal, values[:, order], log.parameters)
        repairs.append(Repair(words, len(time_s)))
        acting = thrusts if signal.measured else lagged(robot, found[0], thrusts)
        return held(found[0], acting, time_s), MEASURED if signal.measured else COMMANDED
    raise LogError(log.lacks("motor commands", tuple(ROTORS)))
