# SPDX-License-Identifier: Apache-2.0
"""A rosbag2 folder that stays readable after a killed process or a full disk.

<name>/metadata.yaml   topics, counts, qualities of service; replaced while the bag grows
<name>/<name>_0.mcap   messages in small chunks; a complete MCAP file after each of them
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from mcap.writer import CompressionType, Writer

from metarl_robot.core.atomic import replace_file
from metarl_robot.ros_nodes.bag_metadata import BagMetadata, BagTopic, qos_text
from metarl_robot.ros_nodes.whole_mcap import WholeMcap

_CHUNK_BYTES = 64 * 1024  # largest loss of a killed process
_REFRESHED_EACH = 10  # flushes between updates of the counts in metadata.yaml; new topics are written at once


class Recording:
    """One bag.

    messages: number written; dropped: number not written because the disk failed. failure: its reason, or empty.

    Arguments:
        path: of the folder; the ending .mcap is removed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.with_suffix("") if path.suffix == ".mcap" else path
        self.messages = self.dropped = 0
        self._flushes = self._described = 0
        self.failure = ""
        self._channels: dict[str, int] = {}
        self._schemas: dict[str, int] = {}
        self._file: WholeMcap | None = None
        self._metadata = BagMetadata(f"{self.path.name}_0.mcap")
        with self._on_disk():
            self.path.mkdir(parents=True, exist_ok=True)
            self._file = WholeMcap(self.path / self._metadata.file_name)
            self._writer = Writer(self._file, chunk_size=_CHUNK_BYTES, compression=CompressionType.ZSTD)
            self._writer.start(profile="ros2", library="metarl_robot")
            self._file.commit()
            self._write_metadata()

    @property
    def topics(self) -> Collection[str]:
        return self._channels.keys()

    @property
    def topics_without_hash(self) -> list[BagTopic]:
        """Topics with an unknown type_hash."""
        return [topic for topic in self._metadata.topics.values() if not topic.type_hash]

    def add_topic(self, topic: str, type_name: str, definition: str, offered: Sequence[dict[str, Any]] = ()) -> None:
        """Announce a topic before its first message. offered: qualities of service."""
        if self.failure or topic in self._channels:
            return
        if type_name not in self._schemas:
            schema = {"name": type_name, "encoding": "ros2msg", "data": definition.encode()}
            self._schemas[type_name] = self._writer.register_schema(**schema)
        self._channels[topic] = self._writer.register_channel(
            topic=topic,
            message_encoding="cdr",
            schema_id=self._schemas[type_name],
            metadata={"offered_qos_profiles": qos_text(offered)},
        )
        self._metadata.topics[topic] = BagTopic(topic, type_name, list(offered))

    def write(self, topic: str, time_ns: int, data: bytes) -> None:
        """Append a serialized message of an announced topic."""
        if self._file is None:
            self.dropped += 1
            return
        self._writer.add_message(self._channels[topic], time_ns, data, publish_time=time_ns)
        self.messages += 1
        self._metadata.topics[topic].messages += 1
        self._metadata.span.take(time_ns)
        if self._file.pending:  # a chunk is full
            with self._on_disk():
                self._file.commit()

    def flush(self) -> None:
        """Update metadata.yaml if topics are new, else at intervals."""
        self._flushes += 1
        stale = len(self._channels) > self._described or self._flushes % _REFRESHED_EACH == 0
        if self._file is not None and stale:
            with self._on_disk():
                self._write_metadata()

    def close(self) -> None:
        """Complete the bag: index and summary."""
        if self._file is None:
            return
        with self._on_disk():
            self._writer.finish()
            self._file.commit(end=b"")
            self._file.close()
            self._file = None
            self._write_metadata()

    def _write_metadata(self) -> None:
        self._described = len(self._channels)
        replace_file(self.path / "metadata.yaml", self._metadata.yaml(), durable=False)

    @contextmanager
    def _on_disk(self) -> Iterator[None]:
        """End the recording in order after a disk error."""
        try:
            yield
        except OSError as error:
            self.failure = f"{self.path}: {error.strerror or error}"
            file, self._file = self._file, None
            with suppress(OSError):
                if file is not None:
                    file.close()
                self._write_metadata()
