# SPDX-License-Identifier: Apache-2.0
"""The monitor's lines: a short stop by the gate is in them although the gate passes commands again."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
import rclpy
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticStatus, KeyValue
from rclpy.context import Context
from rclpy.node import Node
from sensor_msgs.msg import JointState

from metarl_robot.cli.launch_process import node_environment
from metarl_robot.core.robot import load_robot
from metarl_robot.ros_nodes import topics
from metarl_robot.ros_nodes.arm.interface import JointInterface
from tests.ros.conftest import free_domain

ARM = load_robot("planar2")


def said(process: subprocess.Popen[str]) -> Iterator[dict[str, object]]:
    assert process.stdout is not None
    for line in process.stdout:
        yield json.loads(line)


def gate_state(state: str, why: str) -> DiagnosticStatus:
    values = [KeyValue(key="state", value=state), KeyValue(key="latched", value="False")]
    return DiagnosticStatus(name="gate", message=why, values=values)


@pytest.fixture
def node() -> Iterator[Node]:
    context = Context()
    rclpy.init(context=context, domain_id=free_domain())
    made = Node("tester", context=context)
    yield made
    made.destroy_node()
    rclpy.shutdown(context=context)


@pytest.mark.parametrize(("time_s", "stopped"), [(0.5, ""), (4.0, "too old")])
def test_a_short_stop_under_way_is_reported(node: Node, time_s: float, stopped: str) -> None:
    states = node.create_publisher(JointState, JointInterface.state_topic, topics.STATE_OUT)
    gate = node.create_publisher(DiagnosticStatus, topics.GATE_STATE, topics.LATCHED)
    environment = node_environment({"ROS_DOMAIN_ID": str(node.context.get_domain_id())})
    command = (sys.executable, "-m", "metarl_robot.ros_nodes.monitor", "--robot", "planar2", "--hz", "10")
    with ExitStack() as stack:
        process = stack.enter_context(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True))
        stack.callback(process.terminate)
        lines, state = said(process), JointState(name=list(ARM.channel_names))
        state.position, state.velocity = ARM.home.tolist(), [0.0] * ARM.dof
        state.header.stamp = Time(sec=int(time_s), nanosec=round(time_s % 1 * 1e9))
        while (seen := next(lines))["time_s"] is None:
            states.publish(state)
        assert not seen["stopped"]
        for name, why in (("braking", "too old"), ("passing", "")):
            gate.publish(gate_state(name, why))
            while (seen := next(lines))["held"] is None:
                pass
        state.header.stamp.sec += 1
        while seen["time_s"] < time_s + 1.0:
            states.publish(state)
            seen = next(lines)
        assert (seen["stopped"] or "", seen["held"]) == (stopped, "")
