# SPDX-License-Identifier: Apache-2.0
"""A second publisher on a topic that drives the robot: named by gate and plant, and the gate does not arm beside it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray

from metarl_robot.core.robot import load_robot
from metarl_robot.core.tables import Table
from metarl_robot.ros_nodes import topics
from metarl_robot.ros_nodes.arm.interface import JointInterface
from metarl_robot.ros_nodes.convert import table_message
from metarl_robot.ros_nodes.joint_states import joint_state

STRANGE_NS = 777  # beyond a state's stamp: in no stamp of the plant's or the mpc's


def error(probe: object, node: str) -> str:
    status = probe.diagnostics.get(node)
    return status.message if status is not None and status.level == DiagnosticStatus.ERROR else ""


def test_the_gate_does_not_arm_beside_another_publisher_unless_it_is_allowed(start: Callable) -> None:
    session = start("arm", robot="planar2", controller="computed_torque", lockstep="true", reference="hold")
    probe = session.probe
    # before the gate has started
    commanding = probe.node.create_publisher(JointState, topics.GATE_COMMAND, topics.COMMAND)
    probe.wait(lambda: "2 publishers on /gate/command: /mpc, /probe" in error(probe, "gate"), "the stranger's name")
    probe.wait_count("gate", "command_not_alone")
    assert probe.states[-1]["state"] == "waiting"
    answer = probe.trigger("/gate/rearm")
    assert not answer.success and "/probe" in answer.message and "allow_other_publishers" in answer.message
    probe.node.destroy_publisher(commanding)
    probe.wait_state("passing")

    driving = probe.node.create_publisher(Float64MultiArray, JointInterface.commands, topics.COMMAND)
    for node in ("gate", "plant"):
        probe.wait(
            lambda node=node: "2 publishers on /effort_controller/commands: /gate, /probe" in error(probe, node),
            f"the stranger's name from the {node}",
        )
    assert probe.trigger("/gate/estop").success
    probe.wait_state("holding", latched=True)
    assert not probe.trigger("/gate/rearm").success
    assert probe.set_parameter("gate", "allow_other_publishers", True).successful
    probe.wait(lambda: probe.trigger("/gate/rearm").success, "it to be re-armed")
    probe.wait_state("passing")
    probe.node.destroy_publisher(driving)
    probe.wait(lambda: "publishers on" not in error(probe, "plant"), "the end of it")


def test_no_command_of_a_stranger_acts_while_the_robot_moves(start: Callable) -> None:
    session = start(
        "arm", robot="planar2", controller="computed_torque", lockstep="true", reference="tracking", seed="3"
    )
    probe, robot = session.probe, load_robot("planar2")
    probe.wait_state("passing")
    to_gate = probe.node.create_publisher(JointState, topics.GATE_COMMAND, topics.COMMAND)
    to_plant = probe.node.create_publisher(Float64MultiArray, JointInterface.commands, topics.COMMAND)
    names, effort = robot.channel_names, 0.5 * robot.effort_limit

    def answer(state: JointState) -> None:
        stamp_ns = state.header.stamp.sec * 10**9 + state.header.stamp.nanosec
        for source in ("", "stranger"):
            to_gate.publish(joint_state(names, stamp_ns + STRANGE_NS, effort=effort, frame=source))
            to_plant.publish(table_message(Table(stamp_ns + STRANGE_NS, ("effort",), names, effort[None], source)))

    # the newest state only: an answer to an old one is refused as late, before its source is looked at
    probe.listen(JointState, JointInterface.state_topic, answer, topics.STATE_IN)
    probe.wait_count("gate", "command_other_source", 50)
    probe.wait_count("plant", "command_other_source", 50)
    probe.wait_until(probe.time_s + 1.0)
    assert probe.states[-1]["state"] == "passing"
    assert "/probe" in error(probe, "gate") and "/probe" in error(probe, "plant")
    acted = [table for table in probe.commands if table.source not in ("", "stranger")]
    assert len(acted) > 100 and not any(table.stamp_ns % 1000 == STRANGE_NS for table in acted)
    gave = [np.array([table.value(f"{name}/effort_nm") for name in names]) for table in probe.truth[-100:]]
    assert not any(np.allclose(given, effort) for given in gave)
