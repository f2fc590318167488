# SPDX-License-Identifier: Apache-2.0
"""Trouble with the source of a robot's states, in words for /diagnostics: what is refused, and a second publisher by
name.

Several publishers on a topic of states are common (a gripper's joints beside the arm's) and no trouble by themselves.
They are named when states contradict each other.
"""

from __future__ import annotations

from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.node import Node

from metarl_robot.safety.refusals import Refusals, Rejection

CONFLICTS = (
    Rejection.POSITION_JUMPED,
    Rejection.STAMP_BACKWARDS,
    Rejection.STAMP_JUMPED,
    Rejection.STAMP_REPEATED,
    Rejection.STAMP_ZERO,
)


def source_trouble(node: Node, topic: str, refusals: Refusals, what: str = "states") -> tuple[bytes, str]:
    """(level, words) of what is wrong with the measurements on a topic; words are empty when nothing is."""
    text = refusals.warning or refusals.reason
    if refusals.recent(*CONFLICTS) and len(names := publisher_names(node, topic)) > 1:
        several = f"{len(names)} publishers on {node.resolve_topic_name(topic)}: {', '.join(names)}"
        return DiagnosticStatus.ERROR, f"{several}; {what}: {text or 'they contradict each other'}"
    return DiagnosticStatus.WARN, f"{what}: {text}" if text else ""


def publisher_names(node: Node, topic: str) -> list[str]:
    """Names of the nodes that publish on a topic."""
    ends = node.get_publishers_info_by_topic(node.resolve_topic_name(topic))
    return sorted(f"{end.node_namespace.rstrip('/')}/{end.node_name}"[:100] for end in ends)[:10]
