"""An MCAP file of serialized ROS messages, written so that it survives: small chunks, and a full disk is an answer, not an error."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from mcap.writer import CompressionType, Writer

_CHUNK_BYTES = 64 * 1024  # what a killed process loses at most; each chunk can be read without the rest of the file


class Recording:
    """One file.

    messages: written; dropped: not written because the file has failed. failure: why, empty while all is well.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.messages = self.dropped = 0
        self.failure = ""
        self._channels: dict[str, int] = {}
        self._schemas: dict[str, int] = {}
        self._file: BinaryIO | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("wb")
            self._writer = Writer(self._file, chunk_size=_CHUNK_BYTES, compression=CompressionType.ZSTD)
            self._writer.start(profile="ros2", library="metarl_robot")
        except OSError as error:
            self._fail(error)

    @property
    def topics(self) -> tuple[str, ...]:
        return tuple(self._channels)

    def add_topic(self, topic: str, type_name: str, definition: str) -> None:
        """Announce a topic before its first message."""
        if self.failure or topic in self._channels:
            return
        try:
            if type_name not in self._schemas:
                self._schemas[type_name] = self._writer.register_schema(name=type_name, encoding="ros2msg", data=definition.encode())
            self._channels[topic] = self._writer.register_channel(
                topic=topic, message_encoding="cdr", schema_id=self._schemas[type_name], metadata={}
            )
        except OSError as error:
            self._fail(error)

    def write(self, topic: str, time_ns: int, data: bytes) -> None:
        """Append a serialized message of an announced topic."""
        if self.failure:
            self.dropped += 1
            return
        try:
            self._writer.add_message(self._channels[topic], log_time=time_ns, publish_time=time_ns, data=data)
            self.messages += 1
        except OSError as error:
            self.dropped += 1
            self._fail(error)

    def flush(self) -> None:
        """Hand finished chunks to the operating system."""
        if self._file is not None and not self.failure:
            try:
                self._file.flush()
            except OSError as error:
                self._fail(error)

    def close(self) -> None:
        """Complete the file: index and summary."""
        if self._file is None or self.failure:
            return
        try:
            self._writer.finish()
            self._file.close()
        except OSError as error:
            self._fail(error)
        self._file = None

    def _fail(self, error: OSError) -> None:
        self.failure = f"{self.path}: {error.strerror or error}"
        if self._file is not None:
            with suppress(OSError):  # what is buffered cannot be written either
                self._file.close()
            self._file = None
