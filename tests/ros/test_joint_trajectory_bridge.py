# SPDX-License-Identifier: Apache-2.0
"""The bridge to a robot that takes positions, and a stand-in for its joint_trajectory_controller, in real time.

The stand-in (tests/ros2_control/position_stand_in.py) is NOT ros2_control: our MuJoCo arm with a stiff position loop
executes the trajectories.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

rclpy = pytest.importorskip("rclpy", reason="needs the extra [ros] or a ROS 2 installation")

from sensor_msgs.msg import JointState  # noqa: E402

from metarl_robot.core.errors import MetaRLError  # noqa: E402
from metarl_robot.ros_nodes.convert import UnusableError  # noqa: E402
from metarl_robot.ros_nodes.interface import interface_of  # noqa: E402
from metarl_robot.ros_nodes.joint_states import JointOrder, joint_state_of, measured_effort, state_of  # noqa: E402
from metarl_robot.ros_nodes.message_options import MessageOptions  # noqa: E402
from metarl_robot.ros_nodes.messages.provide import provide  # noqa: E402
from metarl_robot.ros_nodes.recorder import expected_topics  # noqa: E402
from tests.ros2_control.running import ROBOT, Graph  # noqa: E402

try:
    provide("controller_manager_msgs")
    provide("control_msgs")
except MetaRLError as error:
    pytest.skip(f"messages: {error}", allow_module_level=True)

from control_msgs.msg import DynamicJointState, InterfaceValue  # noqa: E402


class PositionGraph(Graph):
    """mpc, gate and bridge as launched, beside the stand-in."""

    bridge, stand_in = "joint_trajectory_bridge", "position_stand_in"


PARAMETERS = "/**/joint_trajectory_bridge: {ros__parameters: {deadline_s: 0.2}}"
LATE = {"it ends in the past"}
"""For a busy machine, on which messages are late."""


@pytest.fixture
def graph(start: Callable, tmp_path: Path) -> Iterator[Callable[..., PositionGraph]]:
    made: list[PositionGraph] = []
    (tmp_path / "busy.yaml").write_text(PARAMETERS)

    def make(interface: str = "position", **arguments: str) -> PositionGraph:
        arguments |= {"controller": "nominal_mpc", "commands": "positions", "params": str(tmp_path / "busy.yaml")}
        made.append(PositionGraph(start, interface, **arguments))
        return made[-1]

    yield make
    for one in made:
        one.stop()


@pytest.mark.slow
@pytest.mark.real_time
def test_an_arm_is_moved_by_plans_and_holds_when_the_solver_dies(graph: Callable[..., PositionGraph]) -> None:
    """Its controller has the joints in another order than we have; states come on dynamic_joint_states."""
    one = graph(dynamic_joint_states="true")
    one.wait_words("ready: ~/engage")
    assert one.arm.now["sent"] == 0
    one.engage()
    one.probe.wait(lambda: one.arm.now["sent"] > 20, "horizons")
    goal = ROBOT.home + np.array([0.6, -0.6])
    one.move_to(goal)
    one.probe.wait(lambda: np.abs(one.arm.q - goal).max() < 0.01, f"the goal; {one.arm.now}")
    assert set(one.arm.now["refused"]) <= LATE
    one.move_to(ROBOT.home)
    one.probe.wait(lambda: np.abs(one.arm.q - goal).max() > 0.2, f"motion; {one.arm.now}")
    one.session.expected.add("mpc")
    mpc = next(process for process in one.session.launch.processes if process.node == "mpc")
    os.kill(mpc.popen.pid, signal.SIGKILL)
    killed = len(one.arm.reports)
    one.wait_phase("held")
    one.run(1.0)
    sent = one.arm.now["sent"]
    one.run(0.5)
    q = np.array([report["q"] for report in one.arm.reports[killed - 1 :]])
    print(f"solver killed in motion: {np.abs(q - q[0]).max():.4f} rad on; {one.words[-1]}")
    assert one.arm.now["sent"] == sent and 0.01 < np.abs(q - q[0]).max() < 0.4
    assert np.ptp(q[-8:], axis=0).max() < 1e-3  # it holds


@pytest.mark.slow
@pytest.mark.real_time
def test_a_stopped_gate_ends_the_horizons_until_told(graph: Callable[..., PositionGraph]) -> None:
    one = graph()
    one.wait_words("ready: ~/engage")
    one.engage()
    one.probe.wait(lambda: one.arm.now["sent"] > 5, "horizons")
    assert one.probe.trigger("gate/estop").success
    one.wait_phase("held")
    one.run(0.2)
    sent = one.arm.now["sent"]
    one.run(0.5)
    assert one.arm.now["sent"] == sent and one.arm.off_home(0) < 0.02
    assert one.probe.trigger("gate/rearm").success
    one.engage()
    one.probe.wait(lambda: one.arm.now["sent"] > sent + 5, "horizons again")
    assert one.arm.off_home(0) < 0.02 and set(one.arm.now["refused"]) <= LATE


@pytest.mark.slow
def test_a_controller_of_efforts_and_states_without_efforts_are_refused(graph: Callable[..., PositionGraph]) -> None:
    one = graph("effort")
    one.wait_words("its command_interfaces are ['effort']; must hold 'position'")
    one.probe.wait_count("mpc", "efforts_refused")
    assert one.arm.now["sent"] == 0
    reason = "no command, because the state's efforts, to learn from, cannot be used: joint state, effort"
    one.probe.wait(lambda: one.session.said(reason), reason)


def dynamic(**joints: dict[str, float]) -> Any:
    values = [InterfaceValue(interface_names=list(each), values=list(each.values())) for each in joints.values()]
    message = DynamicJointState(joint_names=list(joints), interface_values=values)
    message.header.stamp.sec = 7
    return message


FULL = {"position": 1.0, "velocity": 2.0, "effort": 3.0}


def test_dynamic_joint_states_are_read_by_name_in_any_order() -> None:
    names = ROBOT.channel_names
    message = dynamic(gripper={"opening": 0.1}, elbow={"effort": 6.0, "position": 4.0, "velocity": 5.0}, shoulder=FULL)
    read: JointState = joint_state_of(message, names)
    state = state_of(read, JointOrder(names))
    np.testing.assert_array_equal([state.q, state.v], [[1.0, 4.0], [2.0, 5.0]])
    np.testing.assert_array_equal(measured_effort(read, JointOrder(names)), [3.0, 6.0])
    assert read.header.stamp.sec == 7


def test_a_recorder_knows_them_before_they_have_a_publisher() -> None:
    expected = expected_topics(interface_of(ROBOT, MessageOptions(dynamic_joint_states=True)))
    assert expected["dynamic_joint_states"][0] == "control_msgs/msg/DynamicJointState"


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (dynamic(shoulder=FULL), "no joint 'elbow'"),
        (dynamic(shoulder=FULL, elbow={"position": 1.0}), "joint 'elbow' has no 'velocity'"),
        (DynamicJointState(joint_names=["shoulder", "elbow"]), "0 values for 2 joints"),
    ],
)
def test_a_dynamic_joint_state_that_cannot_be_read_says_why(message: Any, words: str) -> None:
    with pytest.raises(UnusableError, match=words):
        joint_state_of(message, ROBOT.channel_names)


def test_efforts_are_read_only_if_all_joints_have_them() -> None:
    read = joint_state_of(dynamic(shoulder=FULL, elbow={"position": 1.0, "velocity": 0.0}), ROBOT.channel_names)
    with pytest.raises(UnusableError, match="0 values for 2 joints"):
        measured_effort(read, JointOrder(ROBOT.channel_names))
