# SPDX-License-Identifier: Apache-2.0
"""`ground.launch.yaml` with a driver that takes speeds: over real nodes, in lockstep and in real time."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import TwistStamped
from nav_msgs.msg import Odometry
from std_msgs.msg import Float64MultiArray

from metarl_robot.core.robot import load_robot
from metarl_robot.core.tables import Table, table_of
from metarl_robot.ros_nodes import topics
from metarl_robot.ros_nodes.convert import nanoseconds
from metarl_robot.ros_nodes.ground.drive_messages import (
    CMD_VEL,
    DRIVE,
    SPEED_STEERING_TOPIC,
    drive_messages,
    twist_message,
)
from metarl_robot.ros_nodes.ground.interface import GroundInterface
from metarl_robot.ros_nodes.messages.package import MessagesError
from metarl_robot.sim.ground.cross_track import nearest_on
from tests.ros.allowed import assert_exactly_allowed

ROBOT = load_robot("f1tenth")


class Heard:
    """Messages of a run. course: setpoints' positions (2,) by their stamps."""

    def __init__(self, probe: Any) -> None:
        self.twists: list[TwistStamped] = []
        self.tables: list[Table] = []
        self.drives: list[Any] = []
        self.course: dict[int, np.ndarray] = {}
        probe.listen(TwistStamped, CMD_VEL, self.twists.append)
        probe.listen(Float64MultiArray, SPEED_STEERING_TOPIC, lambda m: self.tables.append(table_of(m)))
        with suppress(MessagesError):
            probe.listen(drive_messages("ackermann", "base_link", print).type, DRIVE, self.drives.append)
        read = GroundInterface(ROBOT).read_setpoint
        probe.listen(Odometry, topics.SETPOINT, lambda m: self.course.update([read(m)[:2]]))

    def rms_m(self, truth: list[Table]) -> float:
        """RMS cross-track error after 2 s."""
        course = np.array([q[:2] for _, q in sorted(self.course.copy().items())])
        places = np.array([[t.value("position_x_m"), t.value("position_y_m")] for t in truth])
        nearest, _ = nearest_on(course, places)
        error = np.linalg.norm(nearest - places, axis=1)[np.array([t.stamp_s > 2.0 for t in truth])]
        assert len(error) > 100
        return float(np.sqrt(np.mean(np.square(error))))


def speed_of(table: Table) -> float:
    return float(np.hypot(table.value("velocity_x_m_s"), table.value("velocity_y_m_s")))


def test_a_twist_is_stamped_and_in_the_base_frame() -> None:
    message = twist_message("base_link", 7, np.array([1.5, -0.3]))
    assert (message.header.frame_id, nanoseconds(message.header.stamp)) == ("base_link", 7)
    assert (message.twist.linear.x, message.twist.angular.z) == (1.5, -0.3)
    assert (message.twist.linear.y, message.twist.angular.x) == (0.0, 0.0)


def test_a_command_survives_its_ackermann_message() -> None:
    messages = drive_messages("ackermann", "base_link", print)
    message = messages.make(7, np.array([1.5, -0.25]))
    assert (message.header.frame_id, message.drive.speed, message.drive.steering_angle) == ("base_link", 1.5, -0.25)
    stamp_ns, command = messages.read(message)
    assert (stamp_ns, command.tolist()) == (7, [1.5, -0.25])


@pytest.mark.parametrize("commands", ["twist", "ackermann", "speed_steering"])
def test_the_car_drives_its_course_in_lockstep(start: Callable, commands: str) -> None:
    session = start("ground", lockstep="true", controller="meta_mpc", commands=commands)
    probe, heard = session.probe, Heard(session.probe)
    probe.wait_until(4.5)
    assert probe.states[-1]["state"] == "passing" and max(speed_of(t) for t in list(probe.truth)) > 3.0
    rms_m = heard.rms_m(list(probe.truth))
    print(f"{commands}: RMS cross-track error {1e3 * rms_m:.1f} mm")
    assert rms_m < 0.03
    if commands == "twist":
        assert not heard.tables and {m.header.frame_id for m in list(heard.twists)} == {"base_link"}
        sent = np.array([[m.twist.linear.x, m.twist.angular.z] for m in list(heard.twists)])
        assert np.all(np.abs(sent) <= ROBOT.velocity_limit[[0, 2]])
    elif commands == "ackermann":
        assert not heard.twists and not heard.tables
        sent = np.array([[m.drive.speed, m.drive.steering_angle] for m in list(heard.drives)])
        assert len(sent) > 100 and np.all(
            np.abs(sent) <= 1e-6 + np.array([ROBOT.velocity_limit[0], ROBOT.effort_limit[0]])
        )
    else:
        assert not heard.twists and {t.columns for t in list(heard.tables)} == {("speed_m_s", "steering_rad")}
        sent = np.array([t.values[0] for t in list(heard.tables)])
        assert np.all(np.abs(sent) <= [ROBOT.velocity_limit[0], ROBOT.effort_limit[0]])
    session.finish()


@pytest.mark.real_time
def test_a_bridge_whose_gate_is_killed_stops_the_vehicle_and_says_so(start: Callable) -> None:
    session = start("ground", controller="stanley", commands="twist")
    probe, heard = session.probe, Heard(session.probe)
    probe.wait(lambda: bool(probe.truth) and speed_of(probe.truth[-1]) > 1.5, "the car to drive")
    for process in ("drive_bridge", "driver"):
        assert_exactly_allowed(probe.node, "ground", process)
    session.expected.add("gate")
    gate = next(process for process in session.launch.processes if process.node == "gate")
    os.kill(gate.popen.pid, signal.SIGKILL)
    probe.wait(lambda: bool(heard.twists) and heard.twists[-1].twist.linear.x == 0.0, "speed zero")
    probe.wait(lambda: speed_of(probe.truth[-1]) < 0.05, "the car to stand")

    def said() -> bool:
        status = probe.diagnostics.get("drive_bridge")
        return status is not None and status.level == DiagnosticStatus.ERROR and "no efforts on" in status.message

    probe.wait(said, "the bridge's error in /diagnostics")
    assert heard.twists[-1].twist.linear.x == 0.0 and speed_of(probe.truth[-1]) < 0.05
    session.launch.stop()


def test_a_vehicle_without_a_steered_axle_is_told_to_take_twists(start: Callable) -> None:
    session = start("ground", robot="husky", controller="pure_pursuit", commands="speed_steering")
    session.expected |= {"drive_bridge", "driver"}
    session.probe.wait(lambda: session.said("husky has none, and takes 'twist'"), "the bridge's refusal")
    session.launch.stop()
