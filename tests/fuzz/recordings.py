# SPDX-License-Identifier: Apache-2.0
"""A short recording of a simulated run, whole or with damaged bytes or messages."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import cache
from random import Random
from typing import Any

import numpy as np
from mcap_ros2.writer import Writer
from numpy.typing import NDArray

from metarl_robot.core.robot import load_robot
from metarl_robot.core.tables import Table
from metarl_robot.ros_nodes.message_schema import message_definition
from tests.fuzz.mutations import NUMBERS, word

Change = Callable[[str, dict[str, Any]], dict[str, Any]]

_PERIOD_NS = 5_000_000
_COM = tuple(f"payload_com_{axis}_m" for axis in "xyz")
_TABLE, _STATE, _STATUS = (
    "std_msgs/msg/Float64MultiArray",
    "sensor_msgs/msg/JointState",
    "diagnostic_msgs/msg/DiagnosticStatus",
)


def damaged(random: Random, mutated: Callable[[Random, list[bytes], bool], bytes]) -> bytes:
    """Bytes of a file: valid messages in a damaged file, or damaged messages in a valid one."""
    if random.random() < 0.5:
        return mutated(random, [_whole()], False)
    return recording(lambda topic, message: _altered(random, message) if random.random() < 0.05 else message)


def recording(change: Change = lambda topic, message: message, robots: tuple[str, ...] = ("",)) -> bytes:
    """The bytes of a recording; change: applied to each message on its topic. robots: namespaces, such as '/left'."""
    file = io.BytesIO()
    writer = Writer(file)
    schemas = {name: writer.register_msgdef(name, message_definition(name)) for name in (_TABLE, _STATE, _STATUS)}

    def write(topic: str, kind: str, message: dict[str, Any], stamp_ns: int) -> None:
        for robot in robots:
            writer.write_message(robot + topic, schemas[kind], change(topic, message), log_time=stamp_ns)

    names = load_robot("planar2", check_model=False).coordinates
    columns = (*names.q, *names.v, *names.effort, "crashed", "violations", "payload_mass_kg", *_COM)
    for stamp_ns in range(0, 12 * _PERIOD_NS, _PERIOD_NS):
        write("/plant/truth", _TABLE, _message(Table(stamp_ns, ("truth",), columns, _truth(columns))), stamp_ns)
        step = Table(stamp_ns, ("step",), ("step_ms", "status", "late"), np.array([[1.0, 0.0, 0.0]]))
        write("/mpc/step", _TABLE, _message(step), stamp_ns)
        write("/mpc/setpoint", _STATE, _setpoint(stamp_ns), stamp_ns)
    write("/gate/state", _STATUS, {"name": "gate", "values": [{"key": "robot", "value": "planar2"}]}, 0)
    writer.finish()
    return file.getvalue()


_whole = cache(recording)


def _setpoint(stamp_ns: int) -> dict[str, Any]:
    header = {"stamp": {"sec": 0, "nanosec": stamp_ns}, "frame_id": ""}
    return {
        "header": header,
        "name": ["shoulder", "elbow"],
        "position": [0.5, 1.0],
        "velocity": [0.0, 0.0],
        "effort": [],
    }


def _truth(columns: tuple[str, ...]) -> NDArray[np.float64]:
    return np.array([[0.0 if name in ("crashed", "violations") else 0.1 for name in columns]])


def _message(table: Table) -> dict[str, Any]:
    dims = [{"label": label, "size": 1, "stride": 1} for label in table.labels]
    return {"layout": {"dim": dims, "data_offset": 0}, "data": table.values.ravel().tolist()}


def _altered(random: Random, message: dict[str, Any]) -> dict[str, Any]:
    if "layout" in message:
        return _altered_table(random, message)
    if "values" in message:
        return {**message, "values": [{"key": random.choice(("robot", word(random))), "value": word(random)}]}
    values = random.choice(([], [float("nan")] * 2, [1e308, -1e308], [1.0] * 3))
    return {**message, random.choice(("position", "velocity")): values}


def _altered_table(random: Random, message: dict[str, Any]) -> dict[str, Any]:
    first, second = (dim["label"] for dim in message["layout"]["dim"])
    data, action = message["data"], random.randrange(3)
    if action == 0:
        first = random.choice(
            (first.replace("0.", random.choice(NUMBERS) + ".", 1), word(random), first + "," + word(random))
        )
    elif action == 1:
        second = random.choice((second.replace(random.choice(second.split(",")), word(random), 1), word(random)))
    else:
        data = [random.choice((float("nan"), 1e308, -1.0, 0.0)) for _ in data[random.randrange(3) :]]
    dims = [{"label": label, "size": 1, "stride": 1} for label in (first, second)]
    return {"layout": {"dim": dims, "data_offset": 0}, "data": data}
