"""Reading a recorded run (MCAP, as the recorder node writes it): messages by topic, and the arrays of a simulated run.

Nothing but what was on the topics is used: the truth from /plant/truth, the reference from /mpc/setpoint, time and status of
every step from /mpc/step, beliefs from /mpc/context. Errors are measured at every state, those that the controller did not
answer in time included. A recording that was cut off is read as far as it goes.

The centre of mass is what the context's moments say, c = (m c) / m; to first order, with mass and moments taken as independent,
var(c) = (var(m c) + c² var(m)) / m².
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from mcap.exceptions import EndOfFile, McapError
from mcap.reader import NonSeekingReader
from mcap_ros2.decoder import DecoderFactory
from zstandard import ZstdError

from metarl_robot.cli.runlog import Array, Payload, RunLog
from metarl_robot.errors import MetaRLError
from metarl_robot.labelled import NANOSECONDS, Table, table_of
from metarl_robot.reference import Spline, from_points
from metarl_robot.robot import Robot, available_robots, load_robot
from metarl_robot.signals import Reference
from metarl_robot.sim.geometry import end_effector_positions

_TRUTH, _SETPOINT, _STEP, _CONTEXT, _DIAGNOSTICS = "/plant/truth", "/mpc/setpoint", "/mpc/step", "/mpc/context", "/diagnostics"
_MASS = "payload_mass_kg"
_MOMENTS = tuple(f"payload_moment_{axis}_kg_m" for axis in "xyz")
_COM = tuple(f"payload_com_{axis}_m" for axis in "xyz")
_LEAST_MASS_KG = 1e-3  # below, a centre of mass means nothing


class RecordingError(MetaRLError):
    """A recording is missing, is no MCAP file, or lacks a topic that is needed."""


def read_messages(path: Path, topics: Sequence[str]) -> dict[str, list[Any]]:
    """The messages of some topics, in the order of their recording.

    Raises:
        RecordingError: no such file, or no MCAP file.
    """
    messages: dict[str, list[Any]] = {topic: [] for topic in topics}
    try:
        with path.open("rb") as file:
            for topic, message in _decoded(NonSeekingReader(file, decoder_factories=[DecoderFactory()]), topics):
                messages[topic].append(message)
    except FileNotFoundError as error:
        raise RecordingError(f"{path}: no such recording") from error
    except (EndOfFile, struct.error, ZstdError):
        pass  # cut off: what was completed before is there
    except McapError as error:
        raise RecordingError(f"{path}: cannot be read as MCAP: {error}") from error
    return messages


def _decoded(reader: NonSeekingReader, topics: Sequence[str]) -> Iterator[tuple[str, Any]]:
    for found in reader.iter_decoded_messages(topics=topics, log_time_order=False):
        yield found.channel.topic, found.decoded_message


def read_runs(paths: Sequence[Path]) -> list[RunLog]:
    """Several runs of one robot, to be overlaid: each with a label of its own, all as long as the shortest.

    Raises:
        RecordingError: as read_run, or runs of different robots.
    """
    runs = [read_run(path) for path in paths]
    robots = sorted({run.robot for run in runs})
    if len(robots) > 1:
        raise RecordingError(f"runs of different robots cannot be overlaid; given: {', '.join(robots)}")
    end_s = min(float(run.time_s[-1]) for run in runs)
    counts = Counter(run.controller for run in runs)
    labels = [
        f"{run.controller} ({path.parent.name})" if counts[run.controller] > 1 else run.controller
        for run, path in zip(runs, paths, strict=True)
    ]
    return [replace(run, label=label).until(end_s) for run, label in zip(runs, labels, strict=True)]


def read_run(path: Path) -> RunLog:
    """The simulated run that an .mcap file holds.

    Raises:
        RecordingError: not an MCAP file, without the topics of a simulated run, or of a robot that is not known.
    """
    messages = read_messages(path, (_TRUTH, _SETPOINT, _STEP, _CONTEXT, _DIAGNOSTICS))
    missing = [topic for topic in (_TRUTH, _SETPOINT, _STEP) if not messages[topic]]
    if missing:
        raise RecordingError(f"{path}: nothing was recorded on {', '.join(missing)}: is it the recording of a simulated run?")
    truth, steps = ({table.stamp_ns: table for table in map(table_of, messages[topic])} for topic in (_TRUTH, _STEP))
    setpoints = {_stamp_ns(message): message for message in messages[_SETPOINT]}
    first, last = min(setpoints), max(setpoints)
    stamps = [stamp for stamp in sorted(truth) if first <= stamp <= last]
    if not stamps or len(setpoints) < 2:
        raise RecordingError(f"{path}: no state of {_TRUTH} lies within the reference on {_SETPOINT}")
    robot = _robot_of(path, tuple(setpoints[first].name))
    name = _controller_in(messages[_DIAGNOSTICS]) or path.stem
    states, answers = ([tables[stamp] for stamp in sorted(tables) if first <= stamp <= last] for tables in (truth, steps))
    reference = _reference([setpoints[stamp] for stamp in sorted(setpoints)])
    return _run(robot, name, states, answers, reference, [table_of(message) for message in messages[_CONTEXT]])


def _reference(setpoints: Sequence[Any]) -> Spline:
    """The reference as it was at every answered state, and between them the cubic that their velocities ask for."""
    times = np.array([_stamp_ns(message) / NANOSECONDS for message in setpoints])
    return from_points(times, [list(message.position) for message in setpoints], [list(message.velocity) for message in setpoints])


def _run(robot: Robot, controller: str, truth: list[Table], steps: list[Table], reference: Reference, contexts: list[Table]) -> RunLog:
    q = _columns(truth, tuple(f"{joint}/position_rad" for joint in robot.joint_names))
    times = np.array([table.stamp_s for table in truth])
    wanted = reference.sample(times)
    return RunLog(
        robot=robot.name,
        controller=controller,
        label=controller,
        joint_names=robot.joint_names,
        time_s=times,
        position_m=end_effector_positions(robot, q),
        position_reference_m=end_effector_positions(robot, wanted.q),
        q=q,
        q_reference=wanted.q,
        v=_columns(truth, tuple(f"{joint}/velocity_rad_s" for joint in robot.joint_names)),
        v_reference=wanted.v,
        effort_nm=_columns(truth, tuple(f"{joint}/effort_nm" for joint in robot.joint_names)),
        effort_limit_nm=robot.effort_limit,
        step_time_s=np.array([table.stamp_s for table in steps]),
        step_ms=_columns(steps, ("step_ms",))[:, 0],
        status=_columns(steps, ("status",))[:, 0].astype(int),
        late=_columns(steps, ("late",))[:, 0] > 0.0,
        violations=int(truth[-1].value("violations")),
        truth=_true_payload(times, truth),
        estimate=_estimate(contexts),
        period_s=robot.control_period_s,
    )


def _columns(tables: Sequence[Table], names: Sequence[str]) -> Array:
    """(N, C) columns of tables that all have the same."""
    where = [tables[0].columns.index(name) for name in names]
    return np.array([table.values[0] for table in tables])[:, where]


def _true_payload(times: Array, truth: Sequence[Table]) -> Payload:
    """The payload that there was: its first entry, and one more at each change.

    A change shows in the first state after it; it happened one state earlier.
    """
    values = _columns(truth, (_MASS, *_COM))
    changed = np.flatnonzero(np.any(np.diff(values, axis=0) != 0.0, axis=1)) + 1
    kept = np.concatenate([[0], changed])
    mass, com = values[kept, 0], values[kept, 1:]
    return Payload(times[np.maximum(kept - 1, 0)], mass, np.zeros_like(mass), com, np.zeros_like(com))


def _estimate(contexts: list[Table]) -> Payload | None:
    """What was believed about the payload; None when nothing was."""
    contexts = [table for table in contexts if _MASS in table.columns]
    if not contexts:
        return None
    contexts = sorted({table.stamp_ns: table for table in contexts}.values(), key=lambda table: table.stamp_ns)
    mean, std = (_belief(contexts, row, (_MASS, *_MOMENTS)) for row in ("mean", "std"))
    mass, mass_std = mean[:, 0], std[:, 0]
    divisor = np.where(mass > _LEAST_MASS_KG, mass, np.nan)[:, None]
    com = mean[:, 1:] / divisor
    com_std = np.sqrt(std[:, 1:] ** 2 + (com * mass_std[:, None]) ** 2) / divisor
    return Payload(np.array([table.stamp_s for table in contexts]), mass, mass_std, com, com_std)


def _belief(contexts: Sequence[Table], row: str, names: Sequence[str]) -> Array:
    """(K, C) one row of every context; NaN where a context has no such entry."""
    return np.array([[table.value(name, row) if name in table.columns else np.nan for name in names] for table in contexts])


def _robot_of(path: Path, joints: tuple[str, ...]) -> Robot:
    for name in available_robots():
        robot = load_robot(name)
        if robot.joint_names == joints:
            return robot
    raise RecordingError(f"{path}: no robot has the joints {list(joints)}; there are: {', '.join(available_robots())}")


def _controller_in(diagnostics: Sequence[Any]) -> str | None:
    """The controller that the mpc node last said it uses."""
    for message in reversed(diagnostics):
        for status in message.status:
            for pair in status.values:
                if pair.key == "controller":
                    return str(pair.value)
    return None


def _stamp_ns(message: Any) -> int:
    return int(message.header.stamp.sec) * NANOSECONDS + int(message.header.stamp.nanosec)
