# SPDX-License-Identifier: Apache-2.0
"""Tables of numbers as messages with named fields, for plotting tools.

A table in a Float64MultiArray (tables.py) names its numbers in labels, which Foxglove and PlotJuggler ignore: they
show data[0], data[1], …. A recording therefore holds each table a second time, on `<topic>/named`: a std_msgs/Header
and a float64 for each number, `<column>`, or `<column>_<row>` if there are several rows. The type is defined in the
recording only; no package has it.
"""

from __future__ import annotations

import re
import struct
from typing import NamedTuple

from metarl_robot.core.tables import MOST_LABEL_CHARACTERS
from metarl_robot.ros_nodes.message_schema import message_definition

TABLE_TYPE = "std_msgs/msg/Float64MultiArray"
_LITTLE_ENDIAN = b"\0\1\0\0"
_HEADER = struct.Struct("<4siI8s")  # encapsulation, seconds, nanoseconds, an empty frame_id
_MOST_CHANGES = 20  # of one topic's columns: a change of the controller changes them
_EMPTY_TEXT = b"\1\0\0\0\0\0\0\0"  # with the padding before the first float64


class Serialized(NamedTuple):
    """stamp: `<seconds>.<nanoseconds>`; rows, columns: labels; numbers: bytes of float64."""

    stamp: str
    rows: str
    columns: str
    numbers: bytes


class NamedSeries:
    """The named form of one topic's tables.

    topic, type_name: of the named form; both change if the tables' columns change.
    """

    def __init__(self, topic: str) -> None:
        self._of, self._changes = topic, 0
        self._labels = ("", "")
        self._fields: list[str] = []
        self.topic = self.type_name = ""

    @property
    def definition(self) -> str:
        """The type's definition, with those that it uses."""
        fields = "".join(f"float64 {field}\n" for field in self._fields)
        header = message_definition("std_msgs/msg/Header")
        return f"std_msgs/Header header\n{fields}{'=' * 80}\nMSG: std_msgs/Header\n{header}"

    def named(self, data: bytes) -> bytes | None:
        """The named form of a serialized Float64MultiArray; None if it holds no table."""
        try:
            table = parsed(data)
            seconds, _, nanoseconds = table.stamp.partition(".")
            head = _HEADER.pack(_LITTLE_ENDIAN, int(seconds), int(nanoseconds), _EMPTY_TEXT)
        except (struct.error, ValueError, OverflowError):
            return None
        known = (table.rows, table.columns) == self._labels
        fields = self._fields if known else _fields_of(table)
        if len(table.numbers) != 8 * len(fields) or (not known and self._changes == _MOST_CHANGES):
            return None
        if not known:
            self._rename(table, fields)
        return head + table.numbers

    def _rename(self, table: Serialized, fields: list[str]) -> None:
        self._labels, self._fields = (table.rows, table.columns), fields
        self._changes += 1
        number = "" if self._changes == 1 else str(self._changes)
        self.topic = f"{self._of}/named{number}"
        words = re.findall("[A-Za-z0-9]+", self._of)
        self.type_name = f"metarl_robot/msg/{''.join(word.capitalize() for word in words)}{number}"


def _fields_of(table: Serialized) -> list[str]:
    return field_names(table.rows.split(","), table.columns.split(","))


def parsed(data: bytes) -> Serialized:
    """Parse a serialized (CDR, little-endian) Float64MultiArray with two dimensions.

    Raises:
        ValueError, struct.error: it is not one.
    """
    if data[:4] != _LITTLE_ENDIAN or data[4:8] != b"\2\0\0\0":
        raise ValueError("not a table")
    body, at, labels = data[4:], 4, []
    for _ in range(2):
        (length,) = struct.unpack_from("<I", body, at)
        if length > MOST_LABEL_CHARACTERS:
            raise ValueError("not a table")
        labels.append(body[at + 4 : at + 3 + length].decode("utf-8"))
        at += 4 + length
        at += -at % 4 + 8  # size and stride
    (count,) = struct.unpack_from("<4xI", body, at)  # after data_offset
    at += 8
    at += -at % 8
    stamp, _, rows = labels[0].partition(" ")
    return Serialized(stamp, rows, labels[1], body[at : at + 8 * count])


def field_names(rows: list[str], columns: list[str]) -> list[str]:
    """A valid and unique field name for each number, row by row."""
    names: dict[str, None] = {}  # in order
    for row in rows:
        for column in columns:
            both = column if len(rows) == 1 else f"{column}_{row}"
            name = "_".join(re.findall("[a-z0-9]+", both.lower()))
            name = name if name[:1].isalpha() else f"value_{name}".rstrip("_")
            names[name if name not in names else f"{name}_{len(names)}"] = None
    return list(names)
