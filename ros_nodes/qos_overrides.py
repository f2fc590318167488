# SPDX-License-Identifier: Apache-2.0
"""The quality of service of a topic, set by parameters at the start, under rclpy's names for them.

    qos_overrides./joint_states.subscription.reliability: reliable
    qos_overrides./mpc/plan.publisher.depth: 1

Topics are full names, after remapping and namespace. Policies that are not given stay those of the node. Only given
ones are declared: as read-only parameters, by rclpy's QoSOverridingOptions.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

from rcl_interfaces.msg import ParameterDescriptor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSPolicyKind, QoSProfile
from rclpy.qos_overriding_options import QoSOverridingOptions

from metarl_robot.core.errors import MetaRLError

DEEPEST = 100_000
"""Most messages that a topic may queue."""
_CHOICES: Mapping[QoSPolicyKind, tuple[str, ...]] = {
    QoSPolicyKind.RELIABILITY: ("reliable", "best_effort"),
    QoSPolicyKind.DURABILITY: ("volatile", "transient_local"),
    QoSPolicyKind.HISTORY: ("keep_last", "keep_all"),
    QoSPolicyKind.DEPTH: (),
}


class QosOverrideError(MetaRLError):
    """A parameter gives a quality of service that does not exist."""


def overridden(
    node: Node, role: str, topic: str, qos: QoSProfile | int
) -> tuple[QoSProfile | int, QoSOverridingOptions | None]:
    """The quality of service and the options to create a topic's end with.

    Arguments:
        role: 'subscription' or 'publisher'.
        topic: as given to the node.

    Raises:
        QosOverrideError: a given value does not exist.
    """
    prefix = f"qos_overrides.{node.resolve_topic_name(topic)}.{role}."
    given = [policy for policy in _CHOICES if _is_given(node, prefix, policy)]
    if not given:
        return qos, None
    # rclpy writes into the profile, and ours are shared by many topics
    return copy.copy(qos), QoSOverridingOptions(given)


def _is_given(node: Node, prefix: str, policy: QoSPolicyKind) -> bool:
    """Whether a policy is given; its value is checked."""
    name = prefix + policy.name.lower()
    if node.has_parameter(name):
        return True
    probe = node.declare_parameter(name, None, ParameterDescriptor(dynamic_typing=True))
    node.undeclare_parameter(name)
    if probe.type_ is Parameter.Type.NOT_SET:
        return False
    choices = _CHOICES[policy]
    if choices and probe.value not in choices:
        raise QosOverrideError(f"parameter '{name}' is {probe.value!r}; allowed: {', '.join(choices)}")
    if not choices and not (probe.type_ is Parameter.Type.INTEGER and 1 <= probe.value <= DEEPEST):
        raise QosOverrideError(f"parameter '{name}' is {probe.value!r}; allowed: whole numbers from 1 to {DEEPEST}")
    return True
