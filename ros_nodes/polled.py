# SPDX-License-Identifier: Apache-2.0
"""Subscriptions that a node reads when it wants to, instead of being called by an executor.

An executor of rclpy builds a set of all entities for each message that it hands over. A node that looks at a dozen
topics some times a second spends most of its time with that.
"""

from __future__ import annotations

from typing import Any

from rclpy.callback_groups import CallbackGroup
from rclpy.subscription import Subscription

_AT_MOST = 10  # messages of a topic at a time, however fast somebody publishes


class Polled(CallbackGroup):
    """A group of subscriptions that no executor serves."""

    def can_execute(self, entity: Any) -> bool:
        return False

    def beginning_execution(self, entity: Any) -> bool:
        return False

    def ending_execution(self, entity: Any) -> None:
        raise AssertionError("no executor serves this group")


def take(subscription: Subscription) -> None:
    """Hand waiting messages to the subscription's callback. Errors of the callback and of rclpy are passed on."""
    for _ in range(_AT_MOST):
        with subscription.handle:
            taken = subscription.handle.take_message(subscription.msg_type, subscription.raw)
        if taken is None:
            return
        subscription.callback(taken[0])
