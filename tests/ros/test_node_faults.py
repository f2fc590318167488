# SPDX-License-Identifier: Apache-2.0
"""Messages that nobody should send, and errors that nobody foresaw, in running systems: no process ends, no unsafe
command leaves.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from geometry_msgs.msg import PoseStamped, Transform
from nav_msgs.msg import Odometry
from nav_msgs.msg import Path as PathMessage
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Imu, JointState
from std_msgs.msg import Float64MultiArray, MultiArrayDimension
from trajectory_msgs.msg import (
    JointTrajectory,
    JointTrajectoryPoint,
    MultiDOFJointTrajectory,
    MultiDOFJointTrajectoryPoint,
)

from metarl_robot.cli.launch_process import node_environment
from metarl_robot.core.robot import Robot, load_robot
from metarl_robot.ros_nodes import topics
from metarl_robot.ros_nodes.arm.interface import JointInterface
from metarl_robot.ros_nodes.interface import interface_of
from metarl_robot.ros_nodes.odometry import IMU
from metarl_robot.ros_nodes.quadrotor.interface import OdometryInterface

NAN, INF, HUGE = float("nan"), float("inf"), "x" * 100_000
STAMPS = ("²", "9" * 400, "9" * 5000, "-1", "", "1e9", "٣", "\x00")
SECONDS = (-1, -(2**31), 2**31 - 1)


def tables(columns: tuple[str, ...]) -> Iterator[Float64MultiArray]:
    names, count = ",".join(columns), len(columns)

    def table(label: str, data: list[float], second: str = names) -> Float64MultiArray:
        message = Float64MultiArray(data=data)
        message.layout.dim = [
            MultiArrayDimension(label=label, size=1),
            MultiArrayDimension(label=second, size=len(data)),
        ]
        return message

    yield Float64MultiArray()
    for stamp in STAMPS:
        yield table(f"{stamp}.000000000 effort", [0.0] * count)
        yield table(f"1.{stamp} effort", [0.0] * count)
    for value in (NAN, INF, -INF, 1e308):
        yield table("0.000000000 effort", [value] * count)
    yield table("0.000000000 effort", [])
    yield table("0.000000000 ", [0.0] * count)
    yield table("0.000000000 effort", [0.0] * count, HUGE)
    yield table(HUGE, [0.0] * count)
    yield table("0.000000000 effort", [0.0] * 10_000)


def joint_states(names: tuple[str, ...]) -> Iterator[JointState]:
    count = len(names)
    for lists in ([], [NAN] * count, [INF] * count, [1e308] * count, [0.0], [0.0] * 10_000):
        yield JointState(name=list(names), position=lists, velocity=lists, effort=lists)
    for strange in ([], [names[0]] * count, [HUGE] * count, [""] * count, list(names) * 1000):
        yield JointState(name=strange, position=[0.0] * count, velocity=[0.0] * count, effort=[0.0] * count)
    for seconds in SECONDS:
        message = JointState(name=list(names), position=[0.0] * count, velocity=[0.0] * count, effort=[0.0] * count)
        message.header.stamp.sec, message.header.stamp.nanosec = seconds, 2**32 - 1
        yield message


def odometries() -> Iterator[Odometry]:
    for value in (0.0, NAN, INF, 1e308):
        message = Odometry(child_frame_id="base_link")
        message.header.frame_id = "odom"
        message.pose.pose.orientation.w = message.pose.pose.position.x = message.twist.twist.linear.x = value
        yield message
    for seconds in SECONDS:
        message = Odometry(child_frame_id=HUGE)
        message.header.stamp.sec, message.header.stamp.nanosec = seconds, 2**32 - 1
        yield message


def imus() -> Iterator[Imu]:
    for value in (NAN, INF, 1e308):
        message = Imu()
        message.header.frame_id = "base_link"
        message.angular_velocity.x = message.linear_acceleration.z = message.orientation.w = value
        yield message
    for seconds in SECONDS:
        message = Imu()
        message.header.stamp.sec = seconds
        yield message


def references(names: tuple[str, ...]) -> Iterator[tuple[str, object]]:
    yield JointInterface.reference_topic, JointTrajectory()
    for value in (NAN, INF, 1e308):
        point = JointTrajectoryPoint(positions=[value] * len(names), velocities=[value] * len(names))
        yield JointInterface.reference_topic, JointTrajectory(joint_names=list(names), points=[point, point])
    for seconds in SECONDS:
        point = JointTrajectoryPoint(positions=[0.0] * len(names))
        point.time_from_start.sec = seconds
        message = JointTrajectory(joint_names=list(names), points=[point] * 3)
        message.header.stamp.sec = seconds
        yield JointInterface.reference_topic, message
        flight = MultiDOFJointTrajectory(points=[MultiDOFJointTrajectoryPoint(transforms=[Transform()])] * 2)
        flight.header.stamp.sec, flight.header.frame_id = seconds, "odom"
        yield OdometryInterface.reference_topic, flight
        pose = PoseStamped()
        pose.header.stamp.sec = seconds
        path = PathMessage(poses=[pose])
        path.header.frame_id = "odom"
        yield OdometryInterface.path_topic, path


def reports() -> Iterator[tuple[str, object]]:
    odd = [KeyValue(), KeyValue(key="state", value=HUGE), KeyValue(key="missed_deadlines", value="²")]
    yield topics.GATE_STATE, DiagnosticStatus(values=odd)
    yield topics.DIAGNOSTICS, DiagnosticArray(status=[DiagnosticStatus(name="odd", values=odd)])
    for seconds in SECONDS[:2]:
        message = Clock()
        message.clock.sec = seconds
        yield topics.CLOCK, message


def evil(robot: Robot) -> list[tuple[str, object]]:
    """Everything that a node of this robot listens to, by topic."""
    names = robot.channel_names
    states = [(OdometryInterface.state_topic, m) for m in odometries()] + [(IMU, m) for m in imus()]
    joints = [(JointInterface.state_topic, m) for m in joint_states(names)] + [
        (topics.GATE_COMMAND, m) for m in joint_states(names)
    ]
    labelled = (
        interface_of(robot).commands,
        topics.STEP,
        topics.CONTEXT,
        *((topics.GATE_COMMAND,) if robot.attitude is not None else ()),
    )
    made = [(topic, m) for topic in labelled for m in tables(names)]
    own = {topic for _, topic, _ in interface_of(robot).references()}
    return (
        (states if robot.attitude is not None else joints)
        + made
        + [(t, m) for t, m in references(names) if t in own]
        + list(reports())
    )


@pytest.mark.parametrize(
    ("file", "robot", "controller"), [("arm", "planar2", "computed_torque"), ("quad", "x500", "se3")]
)
def test_messages_that_nobody_should_send_end_no_process_and_make_no_unsafe_command(
    start: Callable, file: str, robot: str, controller: str
) -> None:
    session = start(file, robot=robot, controller=controller, lockstep="true", reference="hold")
    probe, described = session.probe, load_robot(robot)
    probe.wait_state("passing")
    publishers = {}
    for topic, message in evil(described):
        quality = topics.LATCHED if topic == topics.GATE_STATE else topics.REPORT
        publishers.setdefault(topic, probe.node.create_publisher(type(message), topic, quality))
    for topic, publisher in publishers.items():
        listened = topic not in (topics.STEP, topics.CONTEXT, topics.DIAGNOSTICS)
        probe.wait(lambda p=publisher, n=listened: not n or p.get_subscription_count() > 0, f"listeners of {topic}")
    for topic, message in evil(described):
        publishers[topic].publish(message)
        threading.Event().wait(0.005)  # one by one, as most topics keep only the newest

    def refused() -> bool:
        """The plant's next time may take the place of ours before the gate reads it: send it again."""
        publishers[topics.CLOCK].publish(list(reports())[-1][1])
        return probe.count("gate", "unreadable_clock") > 0

    probe.wait(refused, "a time that the gate cannot read")
    probe.wait(lambda: "publishers on" in probe.diagnostics["gate"].message, "the strangers' names")
    reached_s = probe.time_s
    probe.wait_until(reached_s + 0.5)
    for node in ("gate", "mpc", "plant", "reference"):
        assert probe.count(node, "faults") == 0, probe.diagnostics[node]
    commands = np.array([table.values[0] for table in list(probe.commands) if table.columns == described.channel_names])
    ours = commands[np.all(np.isfinite(commands), axis=1)]  # the test's own come back here, too
    assert len(ours) > 100
    assert probe.count("plant", "violations") == 0
    assert np.all(np.isfinite([table.values for table in list(probe.truth)]))
    session.finish()


def message(probe: object, node: str) -> str:
    return probe.diagnostics[node].message if node in probe.diagnostics else ""


SABOTAGED = """
import sys
from metarl_robot.{module} import {owner}
from metarl_robot.ros_nodes import {node}
good, failures = {owner}.{method}, []
def sabotaged(self, *arguments, **options):
    if {condition} and len(failures) < {times}:
        failures.append(1)
        raise ZeroDivisionError("planted")
    return good(self, *arguments, **options)
{owner}.{method} = sabotaged
sys.exit({node}.main())
"""
SYSTEM = """
launch:
- node: {{pkg: metarl_robot, exec: plant, name: plant, param: [
    {{name: robot, value: planar2}}, {{name: lockstep, value: 'true'}}, {{name: grace_s, value: '1.0'}}]}}
- node: {{pkg: metarl_robot, exec: {other}, name: {other}, param: [
    {{name: robot, value: planar2}}, {{name: lockstep, value: 'true'}}, {other_parameters}]}}
"""
MPC = "{name: controller, value: computed_torque}"
GATE = "{name: grace_s, value: '0.3'}"


@pytest.fixture
def sabotage(start: Callable, tmp_path: Path) -> Iterator[Callable]:
    """Starts a system of which one node has a method that raises."""
    processes: list[subprocess.Popen[str]] = []

    def made(
        node: str, other: str, other_parameters: str, parameters: str, **where: object
    ) -> tuple[object, subprocess.Popen[str]]:
        path = tmp_path / "rest.launch.yaml"
        path.write_text(SYSTEM.format(other=other, other_parameters=other_parameters))
        session = start(path)
        words = ["robot:=planar2", "lockstep:=true", *parameters.split()]
        command = [sys.executable, "-c", SABOTAGED.format(node=node, **where), "--ros-args"]
        command += [word for parameter in words for word in ("-p", parameter)]
        environment = {**node_environment(), "ROS_DOMAIN_ID": str(session.probe.domain)}
        processes.append(
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)
        )
        return session, processes[-1]

    yield made
    for process in processes:
        process.kill()
        process.wait()


def test_an_unforeseen_error_in_the_gate_stops_the_robot_latched_and_the_gate_goes_on(sabotage: Callable) -> None:
    session, process = sabotage(
        "gate",
        "mpc",
        MPC,
        "",
        module="safety.gate",
        owner="Gate",
        method="on_command",
        condition="arguments[1] > 0.5",
        times=1,
    )
    probe = session.probe
    probe.wait_state("holding", latched=True)
    assert (
        "unforeseen error" in probe.states[-1]["reason"] and "ZeroDivisionError: planted" in probe.states[-1]["reason"]
    )
    assert probe.wait_count("gate", "faults") == 1 and probe.diagnostics["gate"].level == DiagnosticStatus.ERROR
    probe.wait(lambda: probe.trigger("/gate/rearm").success, "it to be re-armed")
    probe.wait_state("passing")
    process.terminate()
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 0 and "Traceback" not in said and "ZeroDivisionError: planted (" in said


def test_a_controller_that_raises_at_every_step_is_named_and_the_gate_holds_the_robot(sabotage: Callable) -> None:
    session, process = sabotage(
        "mpc", "gate", GATE, "controller:=computed_torque",
        module="control.bumpless_transfer", owner="BumplessTransfer", method="step",
        condition="arguments[0] > 0.5", times=10**9,
    )  # fmt: skip
    probe = session.probe
    probe.wait(lambda: "ZeroDivisionError: planted" in message(probe, "mpc"), "the controller's word")
    assert probe.diagnostics["mpc"].level == DiagnosticStatus.ERROR and probe.count("mpc", "faults") > 0
    probe.wait_state("holding", latched=True)
    assert probe.count("plant", "violations") == 0 and process.poll() is None
