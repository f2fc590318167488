# SPDX-License-Identifier: Apache-2.0
"""Signals of a flight in the messages of a bag: vectors, quaternions, arrays of numbers, named tables (core/tables)."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.errors import SignalError, UnknownNameError
from metarl_robot.core.tables import table_of
from metarl_robot.logs.bag_file import Bag, RawMessage
from metarl_robot.logs.bag_signals import looked_up, stamp_of
from metarl_robot.logs.flight_map import AttitudeMap, FlightMap, PlaceMap, RotorMap
from metarl_robot.logs.recording import LogError, Repair
from metarl_robot.logs.series import MOST_SAMPLES, RawLog, Rows

Array = NDArray[np.float64]

_TABLE = "std_msgs/msg/Float64MultiArray"
_NAMED = "wxyz"
_UNREADABLE = "messages that cannot be decoded: left out"


class _Wanted(NamedTuple):
    """A signal that is read: its key, its place, and its rows."""

    key: str
    place: PlaceMap
    rows: Rows


def read_flight_bag(robot: Any, path: Path, log_map: FlightMap) -> RawLog:
    """Read the signals of a bag, quaternions as wxyz, rotors in the robot's order.

    Raises:
        LogError: it is no bag, a topic or a field is missing, or a needed signal has no message.
    """
    with Bag(path) as bag:
        places, rows = log_map.topics(bag.topics), {}
        for key, place in places.items():
            if place.topic not in bag.topics:
                missing = UnknownNameError("topic", place.topic, bag.topics)
                raise LogError(f"{path}: no {key}: {missing} Name topics in a map.")
            rows[key] = Rows(_width(robot, place))
        reader = _Reader(robot, path, log_map, [_Wanted(key, place, rows[key]) for key, place in places.items()])
        for message in bag.messages(tuple({place.topic for place in places.values()})):
            reader.take(message, bag)
            if reader.taken >= MOST_SAMPLES:
                reader.left_out[f"messages beyond the most that are read, {MOST_SAMPLES}: left out"] = 1
                break
        if bag.damage:
            reader.left_out[f"the file is damaged, and read up to there ({bag.damage})"] = 1
    repairs = tuple(Repair(what, count) for what, count in reader.left_out.items())
    for key, place in places.items():
        if not len(rows[key]):
            counted = "".join(f"; {each.count} {each.what}" for each in repairs)
            raise LogError(f"{path}: no message on {place.topic} holds the {key} in its field '{place.field}'{counted}")
    return RawLog({key: each.series() for key, each in rows.items()}, repairs)


def _width(robot: Any, place: PlaceMap) -> int:
    if isinstance(place, RotorMap):
        return 1 if place.quantity == "collective" else len(robot.channel_names)
    return 4 if isinstance(place, AttitudeMap) and place.order != "rpy" else 3


class _Reader:
    """Takes in messages, and counts those that are left out."""

    def __init__(self, robot: Any, path: Path, log_map: FlightMap, wanted: list[_Wanted]) -> None:
        self._path, self._map, self._rotors = path, log_map, robot.channel_names
        self._wanted: dict[str, list[_Wanted]] = {}
        for each in wanted:
            self._wanted.setdefault(each.place.topic, []).append(each)
        self.left_out: Counter[str] = Counter()
        self.taken = 0

    def take(self, message: RawMessage, bag: Bag) -> None:
        """Take in one message."""
        self.taken += 1
        try:
            content = bag.decode(message.data, message.type)
            stamp_ns = stamp_of(content, message.received_ns, self._map.time)
        except Exception:  # on damaged bytes, the decoder may raise anything
            self.left_out[_UNREADABLE] += 1
            return
        for each in self._wanted[message.topic]:
            named = self._table(content) if isinstance(each.place, RotorMap) and message.type == _TABLE else None
            if named is not None:
                each.rows.add(stamp_ns if self._map.time.clock == "received" else named[0], named[1])
                continue
            row = self._row(content, each.place)
            if row is None or row.shape != (each.rows.width,):
                self.left_out[f"messages with another number of values for {each.key}: left out"] += 1
            else:
                each.rows.add(stamp_ns, row)

    def _table(self, content: Any) -> tuple[int, Array] | None:
        """Stamp and thrusts of a named table of the robot's rotors; None: it is none."""
        try:
            table = table_of(content)
        except SignalError:
            return None
        if sorted(table.columns) != sorted(self._rotors):
            return None
        return table.stamp_ns, table.values[0][[table.columns.index(name) for name in self._rotors]]

    def _row(self, content: Any, place: PlaceMap) -> Array | None:
        """Numbers of a field; None: there are too few."""
        _, value = looked_up(self._path, content, place.field)
        parts = _NAMED if hasattr(value, "w") else _NAMED[1:]
        if hasattr(value, "x"):
            return np.array([getattr(value, part) for part in parts], dtype=np.float64)
        try:
            numbers = np.atleast_1d(np.asarray(value, dtype=np.float64))
        except (TypeError, ValueError) as error:
            there = ", ".join(name for name in dir(value) if not name.startswith("_"))
            raise LogError(f"{self._path}: field '{place.field}' holds no numbers; fields in it: {there}") from error
        if isinstance(place, RotorMap):
            return _rotors(numbers, place, self._rotors)
        return ordered(numbers[None], place)[0]


def _rotors(values: Array, place: RotorMap, rotors: tuple[str, ...]) -> Array | None:
    size = 1 if place.quantity == "collective" else len(rotors)
    return in_order(values[None, :size], place, rotors)[0] if len(values) >= size else None


def in_order(values: Array, place: RotorMap, rotors: tuple[str, ...]) -> Array:
    """Values (K, n) of the log's places in the order of the robot's rotors."""
    if place.quantity == "collective" or not place.rotors:
        return values
    return values[:, [place.rotors.index(name) for name in rotors]]


def ordered(values: Array, place: PlaceMap) -> Array:
    """Values (K, n) with quaternions as wxyz."""
    turned = isinstance(place, AttitudeMap) and place.order == "xyzw" and values.shape[1] == 4
    return values[:, [3, 0, 1, 2]] if turned else values
