# SPDX-License-Identifier: Apache-2.0
"""Tables in recordings have a second form with named fields, which other tools read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rosbags.highlevel import AnyReader

pytest.importorskip("rclpy", reason="ROS 2 is not installed")

from rclpy.serialization import serialize_message
from std_msgs.msg import Float64MultiArray

from metarl_robot.cli.recording import read_messages
from metarl_robot.core.tables import Table
from metarl_robot.ros_nodes.convert import table_message
from metarl_robot.ros_nodes.named_series import NamedSeries, field_names
from metarl_robot.ros_nodes.recording import Recording


def serialized(table: Table) -> bytes:
    return serialize_message(table_message(table))


def table(rows: tuple[str, ...], columns: tuple[str, ...], seed: int) -> Table:
    values = np.random.default_rng(seed).standard_normal((len(rows), len(columns)))
    return Table(1_500_000_000 + seed, rows, columns, values)


@pytest.mark.parametrize("columns", [("a",), ("payload_mass_kg", "b"), ("shoulder/effort_nm", "1", "1")])
@pytest.mark.parametrize("rows", [("value",), ("mean", "std")])
def test_every_number_is_there_under_its_name(tmp_path: Path, rows: tuple[str, ...], columns: tuple[str, ...]) -> None:
    series, recording = NamedSeries("/mpc/context"), Recording(tmp_path / "bag")
    tables = [table(rows, columns, seed) for seed in range(20)]
    for one in tables:
        named = series.named(serialized(one))
        assert named is not None
        recording.add_topic(series.topic, series.type_name, series.definition)
        recording.write(series.topic, one.stamp_ns, named)
    recording.close()
    names = field_names(list(rows), list(columns))
    with AnyReader([tmp_path / "bag"]) as reader:
        (connection,) = reader.connections
        assert (connection.topic, connection.msgtype) == ("/mpc/context/named", "metarl_robot/msg/MpcContext")
        theirs = [reader.deserialize(data, connection.msgtype) for _, _, data in reader.messages()]
    ours = read_messages(tmp_path / "bag", ["/mpc/context/named"])["/mpc/context/named"]
    for given, one, other in zip(tables, theirs, ours, strict=True):
        for found in (one, other):
            assert found.header.stamp.nanosec == given.stamp_ns - 10**9
            assert [getattr(found, name) for name in names] == list(given.values.ravel())


def test_names_are_valid_fields_and_differ() -> None:
    names = field_names(["mean", "std"], ["a/b", "a b", "A_B", "1", "__", "é", ""])
    assert len(set(names)) == len(names) == 14
    assert all(name.isidentifier() and name == name.lower() and "__" not in name for name in names)
    assert field_names(["value"], ["payload_mass_kg"]) == ["payload_mass_kg"]


def test_other_columns_are_another_topic() -> None:
    series = NamedSeries("/mpc/context")
    series.named(serialized(table(("mean",), ("a",), 0)))
    first = (series.topic, series.type_name, series.definition)
    series.named(serialized(table(("mean",), ("a", "b"), 0)))
    second = (series.topic, series.type_name, series.definition)
    assert all(one != other for one, other in zip(first, second, strict=True))
    for number in range(1000):  # a stranger's
        series.named(serialized(table(("mean",), (f"c{number}",), 0)))
    assert series.topic == "/mpc/context/named20"


def test_what_is_no_table_has_no_names() -> None:
    series = NamedSeries("/x")
    plain = serialize_message(Float64MultiArray(data=[1.0, 2.0]))
    whole = serialized(table(("mean",), ("a", "b"), 0))
    for data in (b"", plain, b"\0\0" + whole[2:], *(whole[:size] for size in range(len(whole)))):
        assert series.named(data) is None
    assert series.topic == ""
    for place in range(len(whole)):  # never an exception
        series.named(whole[:place] + b"\xff\xff" + whole[place + 2 :])
