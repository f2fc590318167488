# SPDX-License-Identifier: Apache-2.0
"""The quality of service of topics by parameters of a node."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

rclpy = pytest.importorskip("rclpy", reason="needs the extra [ros] or a ROS 2 installation")

from rclpy.parameter import Parameter  # noqa: E402
from rclpy.qos import DurabilityPolicy, ReliabilityPolicy  # noqa: E402
from sensor_msgs.msg import JointState  # noqa: E402

from metarl_robot.ros_nodes import topics  # noqa: E402
from metarl_robot.ros_nodes.guarded import GuardedNode  # noqa: E402
from metarl_robot.ros_nodes.qos_overrides import QosOverrideError  # noqa: E402

STATES, PLAN = "qos_overrides./left/joint_states.subscription.", "qos_overrides./left/plan.publisher."


@pytest.fixture
def node() -> Iterator[Any]:
    """Makes nodes in the namespace /left with parameters as given at their start."""
    context = rclpy.Context()
    context.init()
    made = []

    def make(**values: Any) -> GuardedNode:
        overrides = [Parameter(name, value=value) for name, value in values.items()]
        made.append(GuardedNode("node", namespace="left", context=context, parameter_overrides=overrides))
        return made[-1]

    yield make
    for one in made:
        one.destroy_node()
    context.try_shutdown()


def test_a_parameter_of_the_start_sets_the_quality_of_one_end_of_one_topic(node: Any) -> None:
    one = node(**{STATES + "reliability": "reliable", STATES + "depth": 7, PLAN + "durability": "transient_local"})
    for _ in range(2):  # as a node that is configured again
        states = one.create_subscription(JointState, "joint_states", lambda message: None, topics.STATE_IN)
        assert (states.qos_profile.reliability, states.qos_profile.depth) == (ReliabilityPolicy.RELIABLE, 7)
        assert one.get_parameter(STATES + "reliability").value == "reliable"
        one.destroy_subscription(states)
    plan = one.create_publisher(JointState, "plan", topics.REPORT)
    lasting = one.create_lifecycle_publisher(JointState, "plan", topics.COMMAND)
    assert plan.qos_profile.durability == lasting.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL
    other = one.create_subscription(JointState, "other", lambda message: None, topics.STATE_IN)
    out = one.create_publisher(JointState, "joint_states", topics.STATE_IN)
    for end in (other.qos_profile, out.qos_profile, topics.STATE_IN):
        assert (end.reliability, end.depth) == (ReliabilityPolicy.BEST_EFFORT, 1)
    assert not [
        name for name in one.get_parameters_by_prefix("qos_overrides") if "other" in name or "publisher.r" in name
    ]


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("reliability", "best", "reliable, best_effort"),
        ("history", 3, "keep_last, keep_all"),
        ("depth", 0, "from 1 to"),
    ],
)
def test_a_quality_that_does_not_exist_is_refused_by_name(node: Any, name: str, value: Any, allowed: str) -> None:
    one = node(**{STATES + name: value})
    with pytest.raises(QosOverrideError, match=f"{STATES}{name}.*{value}.*{allowed}"):
        one.create_subscription(JointState, "joint_states", lambda message: None, topics.STATE_IN)
