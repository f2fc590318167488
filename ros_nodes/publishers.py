# SPDX-License-Identifier: Apache-2.0
"""Publishers on the topics that drive a robot: each topic may have only one.

A second one is reported by name, and the gate does not arm beside it. In motion, the gate and the plant distinguish
commands by their source (interface.py), because rclpy's events executor does not pass on the publisher's identity.
DDS lists a killed process until its lease ends, up to 20 s.
"""

from __future__ import annotations

from collections.abc import Sequence

from rclpy.node import Node

LOOK_PERIOD_S = 0.2


class SolePublishers:
    """Watches topics (as given to `create_subscription`) for a second publisher.

    A look costs 6 µs a topic while there is none.
    """

    def __init__(self, node: Node, topics: Sequence[str]) -> None:
        self._node = node
        self._topics = tuple(node.resolve_topic_name(topic) for topic in topics)
        self._crowded: dict[str, list[str]] = {}

    def look(self) -> None:
        """Query the graph."""
        crowded = [topic for topic in self._topics if self._node.count_publishers(topic) > 1]
        self._crowded = {topic: self._names(topic) for topic in crowded}

    def problems(self) -> list[str]:
        """A sentence for each topic with more than one publisher."""
        return [
            f"{len(names)} publishers on {topic}: {', '.join(names)}; end all but one"
            for topic, names in self._crowded.items()
        ]

    def _names(self, topic: str) -> list[str]:
        endpoints = self._node.get_publishers_info_by_topic(topic)
        return sorted(f"{endpoint.node_namespace.rstrip('/')}/{endpoint.node_name}" for endpoint in endpoints)
