# SPDX-License-Identifier: Apache-2.0
"""Messages of a rosbag2 folder, an .mcap, .db3 or ROS 1 .bag file, also of an MCAP file whose end is missing.

The `rosbags` library reads whole files. An MCAP file without its end (the recorder was killed, the disk was full) is
read by the `mcap` library up to the damage.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple, Self

from mcap.records import Channel, Message, Schema
from mcap.stream_reader import StreamReader
from rosbags.highlevel import AnyReader
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from metarl_robot.core.errors import one_line
from metarl_robot.logs.recording import LogError

SUFFIXES = (".mcap", ".db3", ".bag")
_EXPECTED = "expected a rosbag2 folder, an .mcap, .db3 or .bag file"


class RawMessage(NamedTuple):
    """topic, type: names. received_ns: when it was recorded. data: serialised."""

    topic: str
    type: str
    received_ns: int
    data: bytes


class Bag:
    """An open bag, a context manager.

    topics: types by name. damage: why reading ended early; empty: it did not, so far.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._stack = path, ExitStack()
        self.topics: dict[str, str] = {}
        self.damage = ""

    def __enter__(self) -> Self:
        files = bag_files(self._path)
        try:
            self._reader: Any = AnyReader(files, default_typestore=get_typestore(Stores.LATEST))
            self._stack.enter_context(self._reader)
        except Exception as error:  # on damaged bytes, the library may raise anything
            self._salvage(_mcap_files(files), error)
        else:
            self.topics = {each.topic: each.msgtype for each in self._reader.connections}
            self.decode: Callable[[bytes, str], Any] = self._reader.deserialize
        return self

    def __exit__(self, *details: object) -> None:
        self._stack.close()

    def messages(self, topics: Sequence[str]) -> Iterator[RawMessage]:
        """The messages of these topics, up to the first damage."""
        found = self._whole(topics) if self._reader is not None else self._damaged(topics)
        try:
            yield from found
        except Exception as error:  # as above
            self.damage = one_line(error)

    def count(self, topics: Sequence[str]) -> int:
        """Number of messages of these topics by the index; 0: the file has none, or it is damaged."""
        connections = [] if self._reader is None else self._reader.connections
        return sum(each.msgcount for each in connections if each.topic in topics)

    def _whole(self, topics: Sequence[str]) -> Iterator[RawMessage]:
        chosen = [each for each in self._reader.connections if each.topic in topics]
        if chosen:
            for connection, received_ns, data in self._reader.messages(chosen):
                yield RawMessage(connection.topic, connection.msgtype, received_ns, data)

    def _salvage(self, files: list[Path], error: Exception) -> None:
        """Read MCAP files record by record instead; the first pass finds the topics."""
        self._reader, self._files, self.damage = None, files, one_line(error)
        store = get_typestore(Stores.LATEST)
        try:
            for _, record in _records(files):
                if isinstance(record, _Opened):
                    self.topics[record.topic] = record.type
                    if record.type not in store.types:
                        store.register(get_types_from_msg(record.definition, record.type))
        except Exception as damage:  # as above
            self.damage = one_line(damage)
        if not self.topics:
            raise LogError(f"{self._path}: cannot be read as a recording: {self.damage}; {_EXPECTED}") from error
        self.decode = store.deserialize_cdr

    def _damaged(self, topics: Sequence[str]) -> Iterator[RawMessage]:
        for opened, record in _records(self._files):
            if isinstance(record, Message) and opened is not None and opened.topic in topics:
                yield RawMessage(opened.topic, opened.type, record.log_time, record.data)


class _Opened(NamedTuple):
    """A channel with the definition of its type."""

    topic: str
    type: str
    definition: str


def _records(files: Sequence[Path]) -> Iterator[tuple[_Opened | None, Any]]:
    """Channels as _Opened, and messages, each with its channel."""
    for path in files:
        schemas: dict[int, Schema] = {}
        channels: dict[int, _Opened] = {}
        with path.open("rb") as file:
            for record in StreamReader(file, record_size_limit=max(path.stat().st_size, 1)).records:
                if isinstance(record, Schema):
                    schemas[record.id] = record
                elif isinstance(record, Channel):
                    schema = schemas[record.schema_id]
                    opened = _Opened(record.topic, schema.name, schema.data.decode("utf-8", "replace"))
                    channels[record.id] = opened
                    yield opened, opened
                elif isinstance(record, Message):
                    yield channels.get(record.channel_id), record


def bag_files(path: Path) -> list[Path]:
    """The files, or the folder, to open. Raises LogError if there is no bag."""
    if path.is_file():
        return [path]
    if (path / "metadata.yaml").is_file():
        return [path]
    found = sorted(each for suffix in SUFFIXES for each in path.glob(f"*{suffix}")) if path.is_dir() else []
    if not found:
        raise LogError(f"{path}: no recording; {_EXPECTED}")
    return found


def _mcap_files(paths: Sequence[Path]) -> list[Path]:
    files = [each for path in paths for each in (sorted(path.glob("*.mcap")) if path.is_dir() else [path])]
    return [each for each in files if each.suffix == ".mcap"]
