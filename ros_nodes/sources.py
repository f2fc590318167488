# SPDX-License-Identifier: Apache-2.0
"""Problems of a robot's state source as texts for /diagnostics: refused messages, several publishers.

Several publishers on a topic of states are common (the joints of a gripper beside the robot's) and not a problem by
themselves. They are named if states contradict each other.
"""

from __future__ import annotations

from collections.abc import Iterable

from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.node import Node

from metarl_robot.ros_nodes.interface import Source
from metarl_robot.safety.refusals import Refusals, Rejection

CONFLICTS = (
    Rejection.POSITION_JUMPED,
    Rejection.STAMP_BACKWARDS,
    Rejection.STAMP_JUMPED,
    Rejection.STAMP_REPEATED,
    Rejection.STAMP_ZERO,
)


def source_trouble(node: Node, topic: str, refusals: Refusals, what: str = "states") -> tuple[bytes, str]:
    """Describe the problem with the measurements on a topic as (level, text); the text is empty if there is none."""
    text = refusals.warning or refusals.reason
    if refusals.recent(*CONFLICTS) and len(names := publisher_names(node, topic)) > 1:
        several = f"{len(names)} publishers on {node.resolve_topic_name(topic)}: {', '.join(names)}"
        return DiagnosticStatus.ERROR, f"{several}; {what}: {text or 'they contradict each other'}"
    return DiagnosticStatus.WARN, f"{what}: {text}" if text else ""


def sources_trouble(node: Node, sources: Iterable[Source], level: bytes, text: str) -> tuple[bytes, str]:
    """Level and text of a node, with the problems of further sources of states added."""
    for source in sources:
        worse, trouble = source_trouble(node, source.topic, source.refusals, source.name)
        if trouble:
            level, text = max(level, worse), f"{text}; {trouble}"
    return level, text


def refused_counts(sources: Iterable[Source]) -> dict[str, int]:
    """Numbers of refusals of further sources, by source and reason."""
    return {f"{each.name}_{why}": count for each in sources for why, count in each.refusals.counts.items()}


def publisher_names(node: Node, topic: str) -> list[str]:
    """Names of the nodes that publish on a topic."""
    ends = node.get_publishers_info_by_topic(node.resolve_topic_name(topic))
    return sorted(f"{end.node_namespace.rstrip('/')}/{end.node_name}"[:100] for end in ends)[:10]
