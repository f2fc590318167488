# SPDX-License-Identifier: Apache-2.0
"""Signals in the messages of a bag: fields of topics, in the robot's order of joints."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.errors import UnknownNameError, shortened
from metarl_robot.core.robot import Robot
from metarl_robot.logs.bag_file import Bag, RawMessage
from metarl_robot.logs.joint_state import TYPE, JointStateDecoder, JointStates, JointStatesBlock, decoded_block
from metarl_robot.logs.log_map import LogMap, TimeMap
from metarl_robot.logs.recording import LogError, Repair
from metarl_robot.logs.series import MOST_SAMPLES, RawLog, Rows

Array = NDArray[np.float64]

_NANOSECONDS = 1_000_000_000
REPORTED = 10_000
"""Messages from report to report of the progress."""
_NAMES = ("name", "joint_names")
"""Fields that name the joints of the values beside them."""
_OF_JOINT_STATES = JointStates._fields[2:]
_BLOCK = 1000
"""JointState messages that are decoded at once."""
_WRONG_LENGTH = "messages with too few values: left out"
_OTHER_JOINTS = "messages without all joints of the robot: left out"
_UNREADABLE = "messages that cannot be decoded: left out"


class _Wanted(NamedTuple):
    """A signal that is read: its key in the map, the field's path, and its rows."""

    key: str
    field: str
    rows: Rows


def read_bag(robot: Robot, path: Path, log_map: LogMap, report: Callable[[int, int], None] | None = None) -> RawLog:
    """Read the signals of a bag.

    report: takes the number of messages so far, and of all.

    Raises:
        LogError: it is no bag, a topic or a joint is missing, or no message holds positions and efforts.
    """
    wanted: dict[str, list[_Wanted]] = {}
    for key, signal in log_map.signals.items():
        wanted.setdefault(signal.topic, []).append(_Wanted(key, signal.field, Rows(robot.dof)))
    with Bag(path) as bag:
        missing = next((topic for topic in wanted if topic not in bag.topics), None)
        if missing is not None:
            raise LogError(f"{path}: {UnknownNameError('topic', missing, bag.topics)} Name topics in a map.")
        reader = _Reader(path, robot, log_map, bag.decode, wanted)
        count = bag.count(tuple(wanted))
        for i, message in enumerate(bag.messages(tuple(wanted))):
            reader.take(message)
            if report is not None and i % REPORTED == 0 and i < count:
                report(i, count)
            if reader.full:
                break
        damage = f"the file is damaged, and read up to there ({bag.damage})" if bag.damage else ""
    return reader.log(damage)


class _Reader:
    """Takes in messages, and counts those that are left out."""

    def __init__(
        self,
        path: Path,
        robot: Robot,
        log_map: LogMap,
        decode: Callable[[bytes, str], Any],
        wanted: dict[str, list[_Wanted]],
    ) -> None:
        self._path, self._map, self._decode, self._wanted = path, log_map, decode, wanted
        self._names = log_map.names_of(robot.channel_names)
        self._quick = {topic: JointStateDecoder() for topic in wanted}
        self._orders: dict[tuple[str, ...], slice | list[int] | None] = {}
        self._left_out: Counter[str] = Counter()
        self._waiting: dict[str, list[RawMessage]] = {topic: [] for topic in wanted}
        self._taken = 0
        self._n, self._unnamed = robot.dof, slice(robot.dof)

    @property
    def full(self) -> bool:
        return self._taken >= MOST_SAMPLES

    def take(self, message: RawMessage) -> None:
        """Take in one message. JointState messages wait until there is a block of them."""
        self._taken += 1
        if message.type != TYPE:
            self._take_one(message)
            return
        waiting = self._waiting[message.topic]
        waiting.append(message)
        if len(waiting) == _BLOCK:
            self._take_waiting(message.topic)

    def _take_waiting(self, topic: str) -> None:
        messages, self._waiting[topic] = self._waiting[topic], []
        block = self._block(messages) if messages else None
        if block is None:
            for message in messages:
                self._take_one(message)
            return
        received = self._map.time.clock == "received"
        stamps_ns = np.array([each.received_ns for each in messages]) if received else block.stamps_ns
        for each in self._wanted[topic]:
            rows = self._values(getattr(block, each.field), block.name)
            if rows is not None:
                each.rows.extend(stamps_ns, rows)

    def _block(self, messages: list[RawMessage]) -> JointStatesBlock | None:
        """These messages decoded at once; None: each is to be decoded by itself."""
        if any(each.field not in _OF_JOINT_STATES for each in self._wanted[messages[0].topic]):
            return None
        try:
            return decoded_block([message.data for message in messages])
        except (ValueError, struct.error):
            return None

    def _take_one(self, message: RawMessage) -> None:
        try:
            content = self._content(message)
            stamp_ns = self._stamp(content, message.received_ns)
        except Exception:  # on damaged bytes, the decoder may raise anything
            self._left_out[_UNREADABLE] += 1
            return
        for each in self._wanted[message.topic]:
            row = self._row(content, each.field)
            if row is not None:
                each.rows.add(stamp_ns, row)

    def _content(self, message: RawMessage) -> Any:
        if message.type == TYPE:
            return self._quick[message.topic](message.data)
        return self._decode(message.data, message.type)

    def _stamp(self, content: Any, received_ns: int) -> int:
        if isinstance(content, JointStates):
            return received_ns if self._map.time.clock == "received" else content.stamp_ns
        return stamp_of(content, received_ns, self._map.time)

    def _row(self, content: Any, field: str) -> Array | None:
        """Values of a field in the robot's order of joints; None if it has none."""
        values, names = self._field(content, field)
        rows = self._values(values[None], names)
        return None if rows is None else rows[0]

    def _values(self, values: Array, names: tuple[str, ...]) -> Array | None:
        """Values (K, ·) of K messages in the robot's order of joints; None if they have none."""
        count, length = values.shape
        if not length:
            return None  # an absent velocity or effort
        order = self._order(names) if names else self._unnamed
        if order is None:
            self._left_out[_OTHER_JOINTS] += count
        elif length != len(names) if names else length < self._n:
            self._left_out[_WRONG_LENGTH] += count
        else:
            return np.asarray(values[:, order])
        return None

    def _field(self, content: Any, field: str) -> tuple[Array, tuple[str, ...]]:
        """Values of a field, and the names of their joints; empty: the message has none."""
        if isinstance(content, JointStates) and field in _OF_JOINT_STATES:  # the quick way
            return getattr(content, field), content.name
        owner, values = looked_up(self._path, content, field)
        named = next((getattr(each, name) for each in (owner, content) for name in _NAMES if hasattr(each, name)), ())
        return np.atleast_1d(np.asarray(values, dtype=np.float64)), tuple(named)

    def _order(self, names: tuple[str, ...]) -> slice | list[int] | None:
        """Places of the robot's joints among these names; None: some are missing."""
        if names not in self._orders:
            there = set(self._names) <= set(names)
            as_given = names == self._names
            order = slice(None) if as_given else [names.index(name) for name in self._names] if there else None
            self._orders[names] = order
        return self._orders[names]

    def log(self, damage: str) -> RawLog:
        """The signals that were read. Raises LogError if positions or efforts are missing."""
        for topic in self._waiting:
            self._take_waiting(topic)
        rows = {each.key: each.rows for several in self._wanted.values() for each in several}
        for key in ("position", "effort"):
            if not len(rows[key]):
                raise LogError(f"{self._path}: {self._why_no(key)}")
        repairs = [Repair(what, count) for what, count in self._left_out.items()]
        used = [names for names, order in self._orders.items() if order is not None]
        ignored = {name for names in used for name in names} - set(self._names)
        if ignored:
            repairs.append(Repair(f"joints that the robot does not have: ignored ({_listed(ignored)})", len(ignored)))
        if self.full:
            repairs.append(Repair(f"messages beyond the most that are read, {MOST_SAMPLES}: left out", 1))
        if damage:
            repairs.append(Repair(damage, 1))
        return RawLog({key: each.series() for key, each in rows.items() if len(each)}, tuple(repairs))

    def _why_no(self, key: str) -> str:
        names = {name for names in self._orders for name in names}
        missing = [name for name in self._names if name not in names]
        if names and missing:
            there = f"there are: {_listed(names)}"
            return (
                f"no message names the joint {missing[0]} of the robot; {there}. Say in a map which is which: joints."
            )
        signal = self._map.signals[key]
        counted = "".join(f"; {count} {what}" for what, count in self._left_out.items())
        return f"no message on {signal.topic} holds the {key} of each joint in its field '{signal.field}'{counted}"


def _listed(names: set[str]) -> str:
    return shortened(", ".join(sorted(names)))


def stamp_of(content: Any, received_ns: int, time: TimeMap) -> int:
    """Time of a message: of its header, of a PX4 message its `timestamp` [µs], else of its reception."""
    if time.clock == "received":
        return received_ns
    if hasattr(content, "header"):
        return int(content.header.stamp.sec) * _NANOSECONDS + int(content.header.stamp.nanosec)
    of_px4 = getattr(content, "__msgtype__", "").startswith("px4_msgs/")
    return int(content.timestamp) * 1000 if of_px4 else received_ns


def looked_up(path: Path, content: Any, field: str) -> tuple[Any, Any]:
    """The message that holds a field, and the field; `a.b` is field b of field a, of each if that is a list.

    Raises LogError for an unknown field.
    """
    *above, last = field.split(".")
    try:
        owner = reduce(getattr, above, content)
        return owner, [getattr(each, last) for each in owner] if isinstance(owner, list) else getattr(owner, last)
    except AttributeError as error:
        there = [name for name in dir(content) if not name.startswith("_")]
        raise LogError(f"{path}: {UnknownNameError('field', field, there)} Name fields in a map.") from error
