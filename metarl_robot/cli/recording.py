# SPDX-License-Identifier: Apache-2.0
"""Reader of recorded runs (a rosbag2 folder or its MCAP file, as the recorder node writes it).

It returns messages by topic, or the arrays of a simulated run.

All data comes from the topics, below the robot's namespace if it has one: the robot's name from /gate/state, the truth
from /plant/truth, the reference from /mpc/setpoint, time and status of every step from /mpc/step, estimates from
/mpc/context, external forces from /mpc/external_wrench and /mpc/contact. Errors are computed at every state, including
states that the controller did not answer in time. An incomplete or damaged recording is read up to the damage.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from mcap.exceptions import EndOfFile
from mcap.reader import NonSeekingReader
from mcap.records import Channel
from mcap.stream_reader import StreamReader
from mcap_ros2.decoder import DecoderFactory
from zstandard import ZstdError

from metarl_robot.cli.console import note
from metarl_robot.cli.runlog import Array, Event, External, RunLog, Series
from metarl_robot.core import rotation
from metarl_robot.core.coordinates import BaseCoordinates
from metarl_robot.core.errors import MetaRLError, SignalError, shown
from metarl_robot.core.quantities import Report
from metarl_robot.core.robot import MODELS_DIR, Robot, load_robot
from metarl_robot.core.signals import Context
from metarl_robot.core.tables import NANOSECONDS, Table, table_of
from metarl_robot.sim.kinds import simulation
from metarl_robot.trajectories.splines import from_points

_TRUTH, _SETPOINT, _STEP, _CONTEXT, _DIAGNOSTICS = (
    "/plant/truth",
    "/mpc/setpoint",
    "/mpc/step",
    "/mpc/context",
    "/diagnostics",
)
_GATE_STATE = "/gate/state"
_CONTACT, _WRENCH = "/mpc/contact", "/mpc/external_wrench"


class RecordingError(MetaRLError):
    """A recording is missing, is not an MCAP file, or lacks a required topic."""


def mcap_file(path: Path) -> Path:
    """The MCAP file of a rosbag2 folder; `path` itself if it is a file.

    Raises:
        RecordingError: there is none, or several.
    """
    found = sorted(path.glob("*.mcap")) if path.is_dir() else [path]
    if len(found) != 1 or not found[0].is_file():
        raise RecordingError(f"{path}: no such recording; expected an .mcap file, or a folder with one")
    return found[0]


def read_messages(path: Path, topics: Sequence[str]) -> dict[str, list[Any]]:
    """Read the messages of some topics in recorded order, up to the first damage.

    Raises:
        RecordingError: no such file, not an MCAP file, or damaged before the first message.
    """
    messages: dict[str, list[Any]] = {topic: [] for topic in topics}
    path = mcap_file(path)
    try:
        with path.open("rb") as file:
            for topic, message in _decoded(file, path.stat().st_size, topics):
                messages[topic].append(message)
    except (EndOfFile, struct.error, ZstdError):
        pass  # incomplete file: the messages before its end are kept
    except Exception as error:  # on damaged bytes, the reader may raise anything
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        if not any(messages.values()):
            raise RecordingError(f"{path}: cannot be read as MCAP: {reason}") from error
        note(f"{path}: damaged ({reason}); it is read up to there")
    return messages


def _decoded(file: BinaryIO, size: int, topics: Sequence[str]) -> Iterator[tuple[str, Any]]:
    limit, decoders = max(size, 1), [DecoderFactory()]
    reader = NonSeekingReader(file, validate_crcs=True, decoder_factories=decoders, record_size_limit=limit)
    for found in reader.iter_decoded_messages(topics=topics, log_time_order=False):
        yield found.channel.topic, found.decoded_message


def read_runs(paths: Sequence[Path]) -> list[RunLog]:
    """Read several runs of one robot for overlaid figures: with different labels, cut to the shortest.

    Raises:
        RecordingError: as read_run, or the runs are of different robots.
    """
    runs = [read_run(path) for path in paths]
    robots = sorted({run.robot for run in runs})
    if len(robots) > 1:
        raise RecordingError(f"runs of different robots cannot be overlaid; given: {', '.join(robots)}")
    end_s = min(float(run.time_s[-1]) for run in runs)
    counts = Counter(run.controller for run in runs)
    labels = [
        f"{run.controller} ({_place(path)})" if counts[run.controller] > 1 else run.controller
        for run, path in zip(runs, paths, strict=True)
    ]
    return [replace(run, label=label).until(end_s) for run, label in zip(runs, labels, strict=True)]


def _place(path: Path) -> str:
    """Name of the folder that holds the recording."""
    bag = path.parent if (path.parent / "metadata.yaml").is_file() else path
    return bag.parent.name


def read_run(path: Path) -> RunLog:
    """Read the simulated run in a rosbag2 folder or an .mcap file.

    Raises:
        RecordingError: not an MCAP file, topics of a simulated run are missing, or the robot is unknown.
    """
    try:
        return _read_run(path)
    except SignalError as error:  # inconsistent table, or invalid setpoint
        raise RecordingError(f"{path}: {error}") from error


def recorded_namespace(path: Path) -> str:
    """Namespace of the robot in a recording, such as '/left'; empty: the root.

    Raises:
        RecordingError: no such file, or several robots were recorded.
    """
    found: set[str] = set()
    path = mcap_file(path)
    with suppress(Exception), path.open("rb") as file:  # damaged: what comes before is kept
        for record in StreamReader(file, record_size_limit=max(path.stat().st_size, 1)).records:
            if isinstance(record, Channel) and record.topic.endswith(_STEP):
                found.add(record.topic.removesuffix(_STEP))
    if len(found) > 1:
        robots = ", ".join(sorted(name or "/" for name in found))
        raise RecordingError(f"{path}: several robots were recorded: {robots}; record each in its namespace")
    return found.pop() if found else ""


def _robot_messages(path: Path) -> dict[str, list[Any]]:
    """Messages of the recorded robot by topic, without its namespace."""
    namespace = recorded_namespace(path)
    own = (_TRUTH, _SETPOINT, _STEP, _CONTEXT, _GATE_STATE, _CONTACT, _WRENCH)
    found = read_messages(path, (*(namespace + topic for topic in own), _DIAGNOSTICS))
    for message in found[_DIAGNOSTICS]:
        message.status = [each for each in message.status if each.name.rpartition("/")[0] == namespace.strip("/")]
    return {topic.removeprefix(namespace): messages for topic, messages in found.items()}


def _read_run(path: Path) -> RunLog:
    messages = _robot_messages(path)
    missing = [topic for topic in (_TRUTH, _SETPOINT, _STEP) if not messages[topic]]
    if missing:
        raise RecordingError(
            f"{path}: nothing was recorded on {', '.join(missing)}: is it the recording of a simulated run?"
        )
    truth, steps = ({table.stamp_ns: table for table in map(table_of, messages[topic])} for topic in (_TRUTH, _STEP))
    setpoints = {_stamp_ns(message): message for message in messages[_SETPOINT]}
    first, last = min(setpoints), max(setpoints)
    stamps = [stamp for stamp in sorted(truth) if first <= stamp <= last]
    if not stamps or len(setpoints) < 2:
        raise RecordingError(f"{path}: no state of {_TRUTH} lies within the reference on {_SETPOINT}")
    robot = _robot_of(path, messages[_GATE_STATE])
    name = _controller_in(messages[_DIAGNOSTICS]) or path.stem
    states, answers = (
        [tables[stamp] for stamp in sorted(tables) if first <= stamp <= last] for tables in (truth, steps)
    )
    if not answers:
        raise RecordingError(f"{path}: no step on {_STEP} lies within the reference on {_SETPOINT}")
    reference = _Reference(robot, [setpoints[stamp] for stamp in sorted(setpoints)])
    run = _run(robot, name, states, answers, reference, [table_of(message) for message in messages[_CONTEXT]])
    return replace(run, external=_external(messages[_CONTACT], messages[_WRENCH]))


class _Reference:
    """Reference at every answered state, with cubic interpolation between them that matches the velocities.

    Attitudes and body rates are interpolated linearly.
    """

    def __init__(self, robot: Robot, setpoints: Sequence[Any]) -> None:
        pairs = [_setpoint(robot, message) for message in setpoints]
        if any((len(q), len(v)) != (robot.nq, robot.dof) or not np.all(np.isfinite([*q, *v])) for q, v in pairs):
            raise SignalError(
                f"{_SETPOINT}: a setpoint of {robot.name} has {robot.nq} positions and {robot.dof} velocities, all "
                "finite"
            )
        q, v = (np.array(values) for values in zip(*pairs, strict=True))
        self._times = np.array([_stamp_ns(message) / NANOSECONDS for message in setpoints])
        self._places = robot.position_size
        self._spline = from_points(self._times, q[:, : self._places], v[:, : self._places])
        self._rest = (
            np.zeros((len(q), 0))
            if robot.attitude is None
            else np.concatenate([rotation.continuous(q[:, robot.attitude]), v[:, self._places :]], axis=1)
        )

    def at(self, times: Array) -> tuple[Array, Array]:
        """Reference at `times`: (q (N, nq), v (N, dof))."""
        points = self._spline.sample(times)
        if not self._rest.shape[1]:
            return points.q, points.v
        rest = np.stack([np.interp(times, self._times, column) for column in self._rest.T], axis=1)
        return np.concatenate([points.q, rotation.normalise(rest[:, :4])], axis=1), np.concatenate(
            [points.v, rest[:, 4:]], axis=1
        )


def _setpoint(robot: Robot, message: Any) -> tuple[Sequence[float], Sequence[float]]:
    """The robot's q and v in a JointState or an Odometry."""
    if not hasattr(message, "pose"):
        return list(message.position), list(message.velocity)
    base, (pose, twist) = BaseCoordinates(robot.coordinates), _pose_and_twist(message)
    return base.q(pose).tolist(), base.v(twist).tolist()


def _pose_and_twist(message: Any) -> tuple[Array, Array]:
    """Pose (7,) and twist (6,) of an Odometry; its twist is in the body frame, the result's velocity in the world's."""
    place, turned, twist = message.pose.pose.position, message.pose.pose.orientation, message.twist.twist
    attitude = np.array([turned.w, turned.x, turned.y, turned.z])
    velocity = rotation.rotate(attitude, np.array([twist.linear.x, twist.linear.y, twist.linear.z]))
    rates = [twist.angular.x, twist.angular.y, twist.angular.z]
    return np.array([place.x, place.y, place.z, *attitude]), np.array([*velocity, *rates])


def _run(
    robot: Robot, controller: str, truth: list[Table], steps: list[Table], reference: _Reference, contexts: list[Table]
) -> RunLog:
    names, simulated = robot.coordinates, simulation(robot)
    q, times = _finite(truth, names.q), np.array([table.stamp_s for table in truth])
    q_reference, v_reference = reference.at(times)
    true_values, crashed = _truth(robot, times, truth), _columns(truth, ("crashed",))[:, 0] > 0.0
    return RunLog(
        robot=str(robot.folder) if not (MODELS_DIR / robot.name).is_dir() else robot.name,
        controller=controller,
        label=controller,
        time_s=times,
        position_m=simulated.positions(q),
        position_reference_m=simulated.reference_positions(q_reference, q),
        q=q,
        q_reference=q_reference,
        v=_finite(truth, names.v),
        v_reference=v_reference,
        angle_error_rad=simulated.angle_errors(q, q_reference),
        effort=_finite(truth, names.effort),
        step_time_s=np.array([table.stamp_s for table in steps]),
        step_ms=_finite(steps, ("step_ms",))[:, 0],
        status=_finite(steps, ("status",))[:, 0].astype(int),
        late=_columns(steps, ("late",))[:, 0] > 0.0,
        violations=int(_finite(truth[-1:], ("violations",))[0, 0]),
        truth=true_values,
        estimates=_estimates(robot, contexts),
        period_s=robot.control_period_s,
        events=_events(true_values.values()),
        crash_s=float(times[np.argmax(crashed)]) if np.any(crashed) else None,
    )


def _events(truth: Iterable[Series]) -> tuple[Event, ...]:
    """Changes for which reports have words, in order, each with the time of the state before it."""
    events = [
        Event(float(series.time_s[i]), what, series.report.name)
        for series in truth
        for i in range(1, len(series.time_s))
        if (what := series.report.change(series.mean[i - 1], series.mean[i]))
    ]
    return tuple(sorted(events))


def _columns(tables: Sequence[Table], names: Sequence[str]) -> Array:
    """Columns (N, C) of tables, which must all have the same columns. Raises SignalError."""
    columns = tables[0].columns
    missing = [name for name in names if name not in columns]
    if missing:
        raise SignalError(f"a table has no column '{missing[0]}'; its columns are {shown(columns)}")
    if any(table.columns != columns for table in tables):
        raise SignalError(f"tables of one topic have different columns; the first has {shown(columns)}")
    return np.array([table.values[0] for table in tables])[:, [columns.index(name) for name in names]]


def _finite(tables: Sequence[Table], names: Sequence[str]) -> Array:
    """Columns (N, C) as in `_columns`. Raises SignalError if a value is not finite."""
    values = _columns(tables, names)
    if not np.all(np.isfinite(values)):
        raise SignalError(f"a table holds numbers that are not finite in one of {shown(tuple(names))}")
    return values


def _truth(robot: Robot, times: Array, truth: Sequence[Table]) -> dict[str, Series]:
    """True values by report's name: the first, and one more at each change.

    A change is visible in the first state after it, and is given the time of the state before. A report of which the
    recording holds nothing is left out.
    """
    recorded = {
        report.name: (report, tuple(quantity.name for quantity in report.quantities)) for report in robot.reports
    }
    return {
        name: _changes(report, times, _columns(truth, columns))
        for name, (report, columns) in recorded.items()
        if not set(columns).isdisjoint(truth[0].columns)
    }


def _changes(report: Report, times: Array, values: Array) -> Series:
    changed = np.flatnonzero(np.any(np.diff(values, axis=0) != 0.0, axis=1)) + 1
    kept = np.concatenate([[0], changed])
    return Series(report, times[np.maximum(kept - 1, 0)], values[kept], np.zeros_like(values[kept]))


def _estimates(robot: Robot, contexts: Sequence[Table]) -> dict[str, Series]:
    """The controller's estimates by report's name."""
    latest = sorted({table.stamp_ns: table for table in contexts}.values(), key=lambda table: table.stamp_ns)
    times = np.array([table.stamp_s for table in latest])
    read = [Context(table.columns, table.row("mean"), table.row("std")) for table in latest]
    series = (_estimated(report, times, read) for report in robot.reports)
    return {found.report.name: found for found in series if len(found.time_s)}


def _estimated(report: Report, times: Array, contexts: Sequence[Context]) -> Series:
    """Estimates of a report in the contexts that hold some."""
    found = [report.estimate(context) for context in contexts]
    kept = [k for k, estimate in enumerate(found) if estimate is not None]
    values = np.array([found[k] for k in kept]).reshape(len(kept), 2, len(report.quantities))
    return Series(report, times[kept], values[:, 0], values[:, 1])


def _external(contacts: Sequence[Any], wrenches: Sequence[Any]) -> External | None:
    """Contact state and force at the stamps that have both; None without one."""
    states = {table.stamp_ns: table.value("contact") for table in map(table_of, contacts)}
    forces = {_stamp_ns(message): message.wrench.force for message in wrenches}
    stamps = sorted(states.keys() & forces.keys())
    if not stamps:
        return None
    force_n = np.array([[forces[stamp].x, forces[stamp].y, forces[stamp].z] for stamp in stamps])
    return External(np.array(stamps) / NANOSECONDS, np.array([states[stamp] for stamp in stamps]), force_n)


def _robot_of(path: Path, gate_states: Sequence[Any]) -> Robot:
    """The robot that the gate was started for."""
    named = [str(pair.value) for message in gate_states for pair in message.values if pair.key == "robot"]
    if not named:
        raise RecordingError(f"{path}: no message on {_GATE_STATE} names the robot")
    robot: Robot = load_robot(named[0])
    return robot


def _controller_in(diagnostics: Sequence[Any]) -> str | None:
    """The controller in the last diagnostics of the mpc node."""
    for message in reversed(diagnostics):
        for status in message.status:
            for pair in status.values:
                if pair.key == "controller":
                    return str(pair.value)
    return None


def _stamp_ns(message: Any) -> int:
    return int(message.header.stamp.sec) * NANOSECONDS + int(message.header.stamp.nanosec)
