# SPDX-License-Identifier: Apache-2.0
"""Reads a log of any format into a Recording in the robot's units; repairs are counted, none is silent.

Rows with a value that is not finite, and rows that are not later than the one before, are left out. Signals on topics
of their own are held to the times of the positions. Missing velocities are differentiated. Rows in
which a driver repeats an old position while the robot moves are left out (frozen_states.py). Values that no such robot
can have (degrees taken for radians) are refused with the unit that would explain them; single ones are left out.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.errors import shortened
from metarl_robot.core.robot import Robot, named
from metarl_robot.core.turns import unwrapped
from metarl_robot.logs import bag_file, column_file, table_file, ulog_file
from metarl_robot.logs.bag_signals import read_bag
from metarl_robot.logs.flight_map import FlightMap
from metarl_robot.logs.flight_reading import read_flight
from metarl_robot.logs.frozen_states import frozen_rows
from metarl_robot.logs.log_map import UNITS, EffortMap, LogMap, PositionMap, VelocityMap
from metarl_robot.logs.plausible import MOVING_RAD_S, check_plausible, possible
from metarl_robot.logs.recording import FROZEN, LogError, Recording, Repair
from metarl_robot.logs.series import RawLog, Series, finite, part, rising

Array = NDArray[np.float64]

LEAST_SAMPLES = 20
DIFFERENCE_S = 0.005
"""Missing velocities are differences of positions over at least this time."""
LEAST_TURN = 6.0
"""[rad] Angles of joints with a wider range may have been recorded within one turn."""
REPEATED_S, MOST_REPEATED = 0.1, 0.1
"""Time either way that shows motion; share of the rows in motion from which on repeated states are left out."""
MOVED = 0.01
"""[rad, m] Velocities that are all zero are missing where a joint has moved farther."""


def read_log(
    robot: Robot,
    path: Path,
    log_map: LogMap | FlightMap | None = None,
    report: Callable[[int, int], None] | None = None,
) -> Recording:
    """Read a log.

    Arguments:
        robot: of which it is. Its q, v and effort must have one value for each joint.
        path: a rosbag2 folder, an .mcap, .db3 or .bag file, a table (.csv, .tsv, .txt), a Parquet
            or an HDF5 file; of a quadrotor also a ULog, which needs no map.
        log_map: a FlightMap of a quadrotor, a LogMap of others; None: the default.
        report: takes the work done and the whole work while a bag of a robot other than a quadrotor is read.

    Raises:
        LogError: names what is missing, what there is, and what is allowed.
    """
    check_served(robot)
    if robot.attitude is not None:
        return _flight(robot, path, log_map)
    log_map = log_map if isinstance(log_map, LogMap) else LogMap()
    log_map.check(robot.channel_names)
    read = _reader(path)
    raw = read_bag(robot, path, log_map, report) if read is read_bag else read(robot, path, log_map)
    made = _recording(robot, path, log_map, raw)
    check_plausible(robot, made)
    return _possible(robot, made)


def _fresh(position: Series, velocity: Series | None, moved: float, repairs: list[Repair]) -> Series:
    """Without rows that repeat the state before while the robot moves: states that came at a lower rate than rows.

    moved: change of a position [log's unit] within REPEATED_S either way that shows motion.
    """
    time_s, values = position.stamps_ns * 1e-9, position.values
    same = np.concatenate([[False], (values[1:] == values[:-1]).all(axis=1)])
    if velocity is not None and np.array_equal(velocity.stamps_ns, position.stamps_ns) and velocity.values.any():
        same &= np.concatenate([[False], (velocity.values[1:] == velocity.values[:-1]).all(axis=1)])
    earlier, later = (np.searchsorted(time_s, time_s + shift) for shift in (-REPEATED_S, REPEATED_S))
    ends = values[np.minimum(later, len(values) - 1)] - values[earlier]
    moving = (np.abs(ends) > moved).any(axis=1)
    stale = same & moving
    if stale.sum() < MOST_REPEATED * max(int(moving.sum()), 1):
        return position
    repairs.append(Repair("rows that repeat the state before, in motion: left out", int(stale.sum())))
    return part(position, ~stale)


def map_of(robot: Robot) -> type[LogMap] | type[FlightMap]:
    """The kind of map of a robot's recordings."""
    return LogMap if robot.attitude is None else FlightMap


def _flight(robot: Robot, path: Path, log_map: LogMap | FlightMap | None) -> Recording:
    flight_map = log_map if isinstance(log_map, FlightMap) else FlightMap()
    if path.suffix == ulog_file.SUFFIX:
        return ulog_file.read_ulog(robot, _there(path), flight_map.ulog)
    _reader(path, (ulog_file.SUFFIX,))
    return read_flight(robot, path, flight_map)


def _possible(robot: Robot, made: Recording) -> Recording:
    """Without the rows that hold values far beyond the robot's limits."""
    kept = possible(robot, made)
    count = int(np.count_nonzero(~kept))
    if not count:
        return made
    return _with(made, kept, Repair("rows with values far beyond the robot's limits: left out", count))


def check_served(robot: Robot) -> None:
    """Raise LogError for a kind of robot whose recordings cannot be read."""
    if robot.attitude is not None:
        return
    if not robot.nq == robot.dof == robot.nu:
        raise LogError(
            f"recordings of a robot of kind '{robot.kind}' cannot be read; allowed: robots with a position, a velocity "
            "and an effort for each joint, such as arms, and quadrotors"
        )


def _reader(path: Path, others: tuple[str, ...] = ()) -> Callable[[Robot, Path, LogMap], RawLog]:
    """The reader of a path's format. others: further suffixes that are allowed. Raises LogError for other files."""
    allowed = ", ".join((*bag_file.SUFFIXES, *table_file.SUFFIXES, *column_file.SUFFIXES, *others))
    expected = f"expected a rosbag2 folder, or a file that ends in {allowed}"
    _there(path, expected)
    if path.is_dir() or path.suffix in bag_file.SUFFIXES:
        return read_bag
    if path.suffix in table_file.SUFFIXES:
        return table_file.read_table
    if path.suffix in column_file.SUFFIXES:
        return column_file.read_columns
    raise LogError(f"{shortened(str(path))}: {expected}")


def _there(path: Path, expected: str = f"expected a file that ends in {ulog_file.SUFFIX}") -> Path:
    if not path.exists():
        raise LogError(f"{shortened(str(path))}: there is no such file or folder; {expected}")
    return path


def _recording(robot: Robot, path: Path, log_map: LogMap, raw: RawLog) -> Recording:
    repairs = list(raw.repairs)
    # What has been used is dropped at once: a signal of an hour at 1 kHz is 200 MB.
    kept = {key: rising(finite(raw.signals.pop(key), key, repairs), key, repairs) for key in tuple(raw.signals)}
    position, effort = kept["position"], kept["effort"]
    if min(len(position.stamps_ns), len(effort.stamps_ns)) < LEAST_SAMPLES:
        raise LogError(f"{path}: {_too_few(position, effort, repairs)}")
    begin = max(series.stamps_ns[0] for series in kept.values())
    position = part(position, position.stamps_ns >= begin)
    unit = UNITS[log_map.position.unit]
    position = _fresh(position, kept.get("velocity"), 2.0 * REPEATED_S * MOVING_RAD_S / unit, repairs)
    time_s = (position.stamps_ns - begin) * 1e-9
    q = _continued(robot, _scaled(position, log_map.position), repairs)
    del kept["position"], effort
    held = {key: _held(kept.pop(key), position, key, repairs) for key in tuple(kept)}
    del position
    time_s, q, held = _moving(robot, time_s, q, held, repairs)
    v = _velocity(q, time_s, held.pop("velocity", None), log_map.velocity, repairs)
    efforts = _effort(robot, path, q, held.pop("effort"), log_map.effort, repairs)
    if len(time_s) < LEAST_SAMPLES:
        raise LogError(f"{path}: positions and efforts overlap in {len(time_s)} samples; {LEAST_SAMPLES} are needed")
    return Recording(str(path), time_s - time_s[0], q, v, efforts, tuple(repairs))


def _moving(
    robot: Robot, time_s: Array, q: Array, held: dict[str, Array], repairs: list[Repair]
) -> tuple[Array, Array, dict[str, Array]]:
    """Times, positions and held signals without rows that repeat an old position while the robot moves."""
    frozen = frozen_rows(robot, time_s, q, held.get("velocity", np.zeros_like(q)))
    count = int(np.count_nonzero(frozen))
    if not count:
        return time_s, q, held
    repairs.append(Repair(FROZEN, count))
    return time_s[~frozen], q[~frozen], {key: values[~frozen] for key, values in held.items()}


def _with(made: Recording, kept: NDArray[np.bool_], repair: Repair) -> Recording:
    """The kept rows, and the repair that left out the others."""
    repairs = (*made.repairs, repair)
    return Recording(made.source, made.time_s[kept], made.q[kept], made.v[kept], made.effort[kept], repairs)


def _too_few(position: Series, effort: Series, repairs: list[Repair]) -> str:
    counted = f"{len(position.stamps_ns)} usable positions and {len(effort.stamps_ns)} efforts"
    lost = "; ".join(f"{repair.count} {repair.what}" for repair in repairs)
    by_time = any("not later" in repair.what for repair in repairs)
    remedy = " Without useful stamps in the messages say 'time: {clock: received}' in a map." if by_time else ""
    return f"{counted}; at least {LEAST_SAMPLES} are needed{f' ({lost})' if lost else ''}.{remedy}"


def _held(series: Series, to: Series, key: str, repairs: list[Repair]) -> Array:
    """The latest values (K, n) at the stamps of another signal."""
    if np.array_equal(series.stamps_ns, to.stamps_ns):
        return series.values
    latest = np.maximum(np.searchsorted(series.stamps_ns, to.stamps_ns, side="right") - 1, 0)
    exact = series.stamps_ns[latest] == to.stamps_ns
    if not exact.all():
        repairs.append(Repair(f"{key}s with other times: the latest one is held", int(np.count_nonzero(~exact))))
    return series.values[latest]


def _scaled(series: Series, signal: PositionMap) -> Array:
    return _signed(series.values * UNITS[signal.unit], signal)


def _continued(robot: Robot, q: Array, repairs: list[Repair]) -> Array:
    """Positions with wrapped angles continued: of joints that turn without end, or by more than a turn."""
    wide = robot.position_upper - robot.position_lower > LEAST_TURN
    turning = wide if robot.endless is None else wide | robot.endless
    if not len(q) or not turning.any():
        return q
    made, leaps = unwrapped(q, turning, robot.home if robot.endless is not None else q[0])
    names = [name for name, changed in zip(robot.channel_names, leaps > 0, strict=True) if changed]
    if names:
        what = f"leaps by a turn, of angles recorded within a turn ({', '.join(names)}): continued"
        repairs.append(Repair(what, int(leaps.sum())))
    return made


def _signed(values: Array, signal: PositionMap | VelocityMap | EffortMap) -> Array:
    return values * np.array(signal.sign, dtype=np.float64) if signal.sign else values


def _velocity(q: Array, time_s: Array, given: Array | None, signal: VelocityMap | None, repairs: list[Repair]) -> Array:
    if given is not None and signal is not None:
        if given.any() or np.ptp(q, axis=0).max() < MOVED:
            return _signed(given * UNITS[signal.unit], signal)
        repairs.append(Repair("velocities that are all zero while positions move: positions differentiated", len(q)))
    else:
        repairs.append(Repair("velocities that the log does not have: positions differentiated", len(q)))
    return differences(q, time_s)


def differences(q: Array, time_s: Array) -> Array:
    """Velocities (K, n) from positions up to each sample, over at least DIFFERENCE_S."""
    earlier = np.searchsorted(time_s, time_s - DIFFERENCE_S + 1e-9, side="right") - 1
    index = np.arange(len(time_s))
    earlier = np.clip(earlier, 0, np.maximum(index - 1, 0))
    later = np.maximum(index, 1)
    return np.asarray((q[later] - q[earlier]) / (time_s[later] - time_s[earlier])[:, None])


def _effort(robot: Robot, path: Path, q: Array, values: Array, signal: EffortMap, repairs: list[Repair]) -> Array:
    if not values.any():
        raise LogError(
            f"{path}: efforts are zero in all rows: the driver does not measure them; name those commanded in a map"
        )
    effort = _signed(values * UNITS[signal.unit], signal)
    if signal.gain is not None:
        effort *= np.array(signal.gain)
    effort *= np.array(signal.gear)
    if signal.gravity_compensated:
        repairs.append(Repair("efforts without gravity, as the map says: the nominal model's is added", len(q)))
        effort = effort + nominal_gravity(robot, q)
    return effort


def nominal_gravity(robot: Robot, q: Array) -> Array:
    """Effort (K, n) that holds the nominal robot at rest at positions (K, n)."""
    _, _, beta = named(robot.dynamics)(robot).momenta(q, np.zeros_like(q))
    return np.asarray(-beta)
