# SPDX-License-Identifier: Apache-2.0
"""metadata.yaml of a rosbag2 folder, version 9, in the format of rosbag2 in ROS 2 Jazzy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

_VERSION = 9
_NEVER_NS = 2**63 - 1
"""Start of a bag without messages."""
_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


@dataclass
class BagTopic:
    """A recorded topic.

    offered: the publishers' qualities of service; type_hash: RIHS01, or ''.
    """

    name: str
    type_name: str
    offered: list[dict[str, Any]]
    type_hash: str = ""
    messages: int = 0


@dataclass
class Span:
    """First and last recording time [ns]."""

    first_ns: int = _NEVER_NS
    last_ns: int = 0

    def take(self, time_ns: int) -> None:
        self.first_ns, self.last_ns = min(self.first_ns, time_ns), max(self.last_ns, time_ns)

    @property
    def duration_ns(self) -> int:
        return max(self.last_ns - self.first_ns, 0)


@dataclass
class BagMetadata:
    """Content of metadata.yaml for a bag with one MCAP file."""

    file_name: str
    topics: dict[str, BagTopic] = field(default_factory=dict)
    span: Span = field(default_factory=Span)

    def yaml(self) -> bytes:
        """The file as YAML."""
        times = {
            "duration": {"nanoseconds": self.span.duration_ns},
            "starting_time": {"nanoseconds_since_epoch": self.span.first_ns},
            "message_count": sum(topic.messages for topic in self.topics.values()),
        }
        information = {
            "version": _VERSION,
            "storage_identifier": "mcap",
            **times,
            "topics_with_message_count": [_counted(topic) for topic in self.topics.values()],
            "compression_format": "",
            "compression_mode": "",
            "relative_file_paths": [self.file_name],
            "files": [{"path": self.file_name, **times}],
            "custom_data": None,
            "ros_distro": "jazzy",
        }
        return _dumped({"rosbag2_bagfile_information": information}).encode()


def qos_text(offered: Sequence[dict[str, Any]]) -> str:
    """Qualities of service in the format of rosbag2's MCAP channels."""
    return _dumped(list(offered)) if offered else ""


def _counted(topic: BagTopic) -> dict[str, Any]:
    metadata = {
        "name": topic.name,
        "type": topic.type_name,
        "serialization_format": "cdr",
        "offered_qos_profiles": topic.offered,
        "type_description_hash": topic.type_hash,
    }
    return {"topic_metadata": metadata, "message_count": topic.messages}


class _WithoutAliases(_DUMPER):  # type: ignore[misc,valid-type]
    """YAML without aliases, which some tools cannot read."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _dumped(value: Any) -> str:
    return yaml.dump(value, Dumper=_WithoutAliases, sort_keys=False, default_flow_style=False)
