# SPDX-License-Identifier: Apache-2.0
"""Messages that a node's subscriptions have received, without an executor, which takes a millisecond to look once."""

from __future__ import annotations

from rclpy.node import Node


def take_all(node: Node) -> None:
    """Call the node's callbacks for all messages that have arrived."""
    for subscription in node.subscriptions:
        while (taken := subscription.handle.take_message(subscription.msg_type, False)) is not None:
            subscription.callback(taken[0])
