# SPDX-License-Identifier: Apache-2.0
"""A flight in a bag or a table as a Recording: world ENU, body FLU, quaternions wxyz; repairs are counted.

Samples are at the times of the attitudes. Positions and velocities at other times are interpolated. Rates and thrusts
(of commands: after the motors' lag) are means about each sample, specific forces means since the last one.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.window_means import values_at
from metarl_robot.core import rotation
from metarl_robot.core.robot import Robot
from metarl_robot.logs import bag_file, column_file, table_file
from metarl_robot.logs.aerial_frames import enu, flu, flu_to_enu
from metarl_robot.logs.flight_bag import in_order, ordered, read_flight_bag
from metarl_robot.logs.flight_map import AttitudeMap, FlightMap, PositionMap, VelocityMap
from metarl_robot.logs.flight_samples import LEAST_SAMPLES, about, cleaned, held, means, since
from metarl_robot.logs.flight_thrusts import mapped_thrusts, with_torques
from metarl_robot.logs.log_map import UNITS
from metarl_robot.logs.motor_thrusts import lagged
from metarl_robot.logs.plausible import FAR, TIMES
from metarl_robot.logs.position_slopes import half_window_s, slopes
from metarl_robot.logs.recording import COLLECTIVE, COMMANDED, MEASURED, LogError, Recording, Repair
from metarl_robot.logs.series import RawLog, Series, finite, rising

Array = NDArray[np.float64]

_NANOSECONDS = 1e-9


def read_flight(robot: Robot, path: Path, log_map: FlightMap) -> Recording:
    """Read a flight from a bag or a table.

    Raises:
        LogError: names what is missing, what there is, and what is allowed.
    """
    log_map.check(robot)
    raw = _raw(robot, path, log_map)
    repairs = list(raw.repairs)
    kept = {key: rising(finite(each, key, repairs), key, repairs) for key, each in raw.signals.items()}
    timed = _overlapping(path, kept)
    made = _Flight(robot, path, log_map, timed, repairs).recording()
    _check_size(robot, made)
    return _possible(robot, made)


def _raw(robot: Robot, path: Path, log_map: FlightMap) -> RawLog:
    """Signals as given, quaternions as wxyz, rotors in the robot's order."""
    if path.is_dir() or path.suffix in bag_file.SUFFIXES:
        return read_flight_bag(robot, path, log_map)
    read = table_file.read_table if path.suffix in table_file.SUFFIXES else column_file.read_columns
    raw, signals = read(robot, path, log_map), {}
    for key, series in raw.signals.items():
        values = ordered(series.values, getattr(log_map, key))
        if key == "rotors":
            values = in_order(values, log_map.rotors, robot.channel_names)
        signals[key] = Series(series.stamps_ns, values)
    return RawLog(signals, raw.repairs)


def _overlapping(path: Path, kept: dict[str, Series]) -> dict[str, tuple[Array, Array]]:
    """Times [s] from the first at which all signals have begun, and values, of each signal."""
    short = next((key for key, each in kept.items() if len(each.stamps_ns) < 2), None)
    if short is not None:
        raise LogError(f"{path}: {len(kept[short].stamps_ns)} usable samples of {short}; {LEAST_SAMPLES} are needed")
    begin = max(int(each.stamps_ns[0]) for each in kept.values())
    end = min(int(each.stamps_ns[-1]) for each in kept.values())
    if begin >= end:
        spans = (f"{key} {_seconds(each, 0)} … {_seconds(each, -1)} s" for key, each in kept.items())
        raise LogError(
            f"{path}: the signals do not overlap in time: {', '.join(spans)}. Messages without a header have the time "
            "of reception; say 'time: {clock: received}' in a map to use it for all"
        )
    return {key: (np.asarray(_NANOSECONDS * (each.stamps_ns - begin)), each.values) for key, each in kept.items()}


def _seconds(series: Series, at: int) -> str:
    return f"{series.stamps_ns[at] * _NANOSECONDS:.3f}"


class _Flight:
    """Converts the signals to the robot's units, axes and times."""

    def __init__(
        self,
        robot: Any,
        path: Path,
        log_map: FlightMap,
        timed: dict[str, tuple[Array, Array]],
        repairs: list[Repair],
    ) -> None:
        self._robot, self._path, self._map, self._timed, self._repairs = robot, path, log_map, timed, repairs

    def recording(self) -> Recording:
        """The flight, at the times of the attitudes that all signals cover."""
        poses, turned = self._timed["attitude"]
        within = (poses >= 0.0) & (poses <= min(times[-1] for times, _ in self._timed.values()))
        attitude = attitudes(self._map.attitude, turned)[within]
        position, velocity = self._position(poses[within]), self._velocity(poses[within], attitude)
        time_s, q, v = cleaned(self._path, poses[within], position, attitude, velocity, self._repairs)
        rates, force = self._rates(time_s), self._force(time_s)
        return Recording(
            str(self._path),
            time_s - time_s[0],
            q,
            np.hstack([v, rates]),
            self._thrusts(time_s, rates),
            tuple(self._repairs),
            force,
            self._source_of_thrusts(),
        )

    def _source_of_thrusts(self) -> str:
        place = self._map.rotors
        if place.quantity == "collective":
            return COLLECTIVE
        return MEASURED if place.measured else COMMANDED

    def _position(self, at: Array) -> Array:
        times, values = self._timed["position"]
        return self._at("positions", times, positions(self._map.position, values), at)

    def _velocity(self, at: Array, attitude: Array) -> Array:
        if "velocity" not in self._timed or self._map.velocity is None:
            times, values = self._timed["position"]
            place = positions(self._map.position, values)
            half_s = half_window_s(times, place)
            words = f"positions differentiated, as slopes over {2e3 * half_s:.0f} ms"
            self._repairs.append(Repair(f"velocities that the log does not have: {words}", len(at)))
            return slopes(times, place, at, half_s)
        times, values = self._timed["velocity"]
        held_at = self._at("velocities", times, values, at)
        return velocities(self._map.velocity, held_at, attitude, in_table=self._is_table)

    @property
    def _is_table(self) -> bool:
        return not self._path.is_dir() and self._path.suffix not in bag_file.SUFFIXES

    def _at(self, what: str, times: Array, values: Array, at: Array) -> Array:
        """Values at other times, interpolated."""
        if not np.isin(at, times).all():
            self._repairs.append(Repair(f"{what} at other times than attitudes: interpolated", len(at)))
        return values_at(times, values, at)

    def _rates(self, at: Array) -> Array:
        times, values = self._timed["rates"]
        scaled = values * UNITS[self._map.rates.unit]
        return _sampled(times, flu(scaled) if self._map.rates.axes == "frd" else scaled, about(at), at)

    def _force(self, at: Array) -> Array | None:
        place = self._map.specific_force
        if "specific_force" not in self._timed or place is None:
            self._repairs.append(Repair("no accelerometer: predictions do without", len(at)))
            return None
        times, values = self._timed["specific_force"]
        scaled = values * UNITS[place.unit]
        return _sampled(times, flu(scaled) if place.axes == "frd" else scaled, since(at), at)

    def _thrusts(self, at: Array, rates: Array) -> Array:
        place, (times, values) = self._map.rotors, self._timed["rotors"]
        thrusts, words = mapped_thrusts(self._robot, place, values)
        lag = "" if place.measured else ", after the motors' lag"
        self._repairs.append(Repair(f"{words}{lag}", len(at)))
        acting = held(times, thrusts if place.measured else lagged(self._robot, times, thrusts), at)
        if place.quantity != "collective":
            return acting
        self._repairs.append(
            Repair("torques that the body rates need, by robot.yaml: errors of torque show none", len(at))
        )
        return with_torques(self._robot, at, rates, acting)


def positions(place: PositionMap, values: Array) -> Array:
    """Positions (K, 3) [m; ENU]."""
    scaled = values * UNITS[place.unit]
    return enu(scaled) if place.axes == "ned" else scaled


def attitudes(place: AttitudeMap, values: Array) -> Array:
    """Attitudes (K, 4) wxyz [FLU→ENU] of quaternions (K, 4) wxyz, or of roll, pitch and yaw (K, 3)."""
    q = from_angles(values * UNITS[place.unit]) if place.order == "rpy" else values
    q = rotation.inverse(q) if place.axes in ("enu_to_flu", "ned_to_frd") else q
    return flu_to_enu(q) if place.axes in ("frd_to_ned", "ned_to_frd") else q


def from_angles(angles: Array) -> Array:
    """Quaternions (K, 4) of roll, pitch, yaw (K, 3) [rad]: about x, then y, then z of the world."""
    roll, pitch, yaw = (rotation.exp(angles[:, [i]] * np.eye(3)[i]) for i in range(3))
    return rotation.multiply(yaw, rotation.multiply(pitch, roll))


def velocities(place: VelocityMap, values: Array, attitude: Array, in_table: bool) -> Array:
    """Velocities (K, 3) [m/s; ENU]."""
    scaled, axes = values * UNITS[place.unit], place.axes or ("enu" if in_table else "flu")
    if axes in ("enu", "ned"):
        return enu(scaled) if axes == "ned" else scaled
    return rotation.rotate(attitude, flu(scaled) if axes == "frd" else scaled)


def _sampled(times: Array, values: Array, ends: Array, at: Array) -> Array:
    """Values at the same times, or means over the intervals with these ends where there are more samples than that."""
    step_s, wanted_s = float(np.median(np.diff(times))), float(np.median(np.diff(at)))
    return means(times, values, ends, at) if step_s < 0.75 * wanted_s else values_at(times, values, at)


def _check_size(robot: Any, made: Recording) -> None:
    """Raise LogError where speeds, rates or thrusts cannot be right."""
    speed, rate = np.linalg.norm(made.v[:, :3], axis=1), np.abs(made.v[:, 3:])
    limits = robot.velocity_limit
    checked = (
        ("velocities", speed, float(limits[:3].max()), "m/s", "as in mm/s"),
        ("body rates", rate.max(axis=1), float(limits[3:].max()), "rad/s", "as in deg/s"),
        ("thrusts", made.effort.max(axis=1), float(robot.effort_limit.max()), "N", "as of rotor speeds in rpm"),
    )
    for what, values, limit, unit, example in checked:
        size = float(np.quantile(values, 0.9))
        if size > TIMES * limit:
            raise LogError(
                f"{made.source}: {what} reach {size:.4g} {unit}; its limit is {limit:.4g} {unit}: another unit, "
                f"{example}, or another robot? Units are named in a map"
            )


def _possible(robot: Any, made: Recording) -> Recording:
    """Without the rows with a velocity, rate or thrust far beyond its limit."""
    kept = (np.abs(made.v) < FAR * robot.velocity_limit).all(axis=1)
    kept &= (np.abs(made.effort) < FAR * robot.effort_limit).all(axis=1)
    count = int(np.count_nonzero(~kept))
    if not count:
        return made
    repairs = (*made.repairs, Repair("rows with values far beyond the robot's limits: left out", count))
    force = made.specific_force
    part = {name: getattr(made, name)[kept] for name in ("time_s", "q", "v", "effort")}
    return replace(made, **part, repairs=repairs, specific_force=None if force is None else force[kept])
