# SPDX-License-Identifier: Apache-2.0
"""States as they come on real robots: a second publisher, a gripper beside the arm, clocks that are no use, other
frames.

The test is the robot: it simulates, publishes and reads the answers of a real gate and a real mpc node.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticStatus
from nav_msgs.msg import Odometry
from rclpy.node import Node
from sensor_msgs.msg import Imu, JointState
from std_msgs.msg import Float64MultiArray

from metarl_robot.core import rotation
from metarl_robot.core.robot import load_robot
from metarl_robot.core.signals import Inertial
from metarl_robot.ros_nodes import topics
from metarl_robot.ros_nodes.arm.interface import JointInterface
from metarl_robot.ros_nodes.convert import time_message
from metarl_robot.ros_nodes.joint_states import joint_state
from metarl_robot.ros_nodes.odometry import IMU, imu_message, odometry_message
from metarl_robot.ros_nodes.quadrotor.interface import OdometryInterface
from metarl_robot.sim.arm.plant import ArmPlant
from metarl_robot.sim.arm.task import nominal_task
from metarl_robot.sim.kinds import simulation

ARM, QUAD = load_robot("planar2"), load_robot("x500")
AHEAD_NS = 20_000_000


def launch_file(folder: Path, robot: str, controller: str, **more: object) -> Path:
    """A gate and an mpc node, with the same parameters."""
    shared = {"robot": robot, "lockstep": True} | more
    lines = "".join(
        f"      {key}: {str(value).lower() if isinstance(value, bool) else value}\n" for key, value in shared.items()
    )
    (folder / "params.yaml").write_text(f"/**:\n    ros__parameters:\n{lines}", encoding="utf-8")
    text = "launch:\n" + "".join(
        f"- node: {{pkg: metarl_robot, exec: {node}, name: {node}, param: [{{from: "
        f"{folder / 'params.yaml'}}}{extra}]}}\n"
        for node, extra in (("gate", ""), ("mpc", f", {{name: controller, value: {controller}}}"))
    )
    path = folder / "sources.launch.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def reason(probe: object) -> str:
    """The newest of /gate/state."""
    return probe.states[-1].get("reason", "") if probe.states else ""


def diagnosis(probe: object, node: str) -> str:
    """A node's words in /diagnostics."""
    return probe.diagnostics[node].message if node in probe.diagnostics else ""


def problem(probe: object) -> str:
    """The last problem of a control step in the mpc node's /diagnostics."""
    found = probe.diagnostics.get("mpc", DiagnosticStatus()).values
    return {pair.key: pair.value for pair in found}.get("last_problem", "")


class Arm:
    """Joint states out, efforts in, one for each. beside: publishes something else before a state, given its stamp."""

    def __init__(self, session: object) -> None:
        self.probe = session.probe
        self.answers: dict[int, np.ndarray] = {}
        self.probe.listen(Float64MultiArray, JointInterface.commands, self._on_command)
        self._out = self.probe.node.create_publisher(JointState, JointInterface.state_topic, topics.STATE_OUT)
        self.plant, self.stamp_ns = ArmPlant(ARM, nominal_task(ARM)), 10**9
        self._measured = self.plant.measure()

    def _on_command(self, message: Float64MultiArray) -> None:
        self.answers[int(message.layout.dim[0].label.split()[0].replace(".", ""))] = np.array(message.data)

    def run(
        self,
        count: int,
        beside: Callable[[int], None] = lambda stamp_ns: None,
        period_s: float = ARM.control_period_s,
    ) -> None:
        for _ in range(count):
            self.stamp_ns += round(period_s * 1e9)
            beside(self.stamp_ns)
            message = joint_state(ARM.channel_names, self.stamp_ns, self._measured.q, self._measured.v)

            def answered(message: JointState = message) -> bool:
                self._out.publish(message)  # again and again, as the plant does
                return self.stamp_ns in self.answers

            self.probe.wait(answered, f"an answer to the state of {self.stamp_ns} ns")
            self._measured = self.plant.step(self.answers[self.stamp_ns], period_s)


@contextmanager
def stranger(probe: object, name: str) -> Iterator[Callable[[JointState], None]]:
    """Another node that publishes joint states."""
    node: Node = rclpy.create_node(name, context=probe.node.context)
    out = node.create_publisher(JointState, JointInterface.state_topic, topics.STATE_OUT)
    probe.wait(lambda: out.get_subscription_count() >= 2, "gate and mpc")
    yield out.publish
    node.destroy_node()


@pytest.fixture(scope="module")
def arm(start: Callable, tmp_path_factory: pytest.TempPathFactory) -> Arm:
    made = Arm(start(launch_file(tmp_path_factory.mktemp("arm"), "planar2", "computed_torque")))
    made.run(50)
    made.probe.wait_state("passing")
    return made


def test_a_gripper_on_the_same_topic_with_a_clock_ahead_changes_nothing(arm: Arm) -> None:
    said = len(arm.probe.states)
    with stranger(arm.probe, "gripper") as publish:
        arm.run(
            100,
            lambda stamp_ns: publish(
                joint_state(["finger_left", "finger_right"], stamp_ns + AHEAD_NS, np.ones(2), np.zeros(2))
            ),
        )
    assert all(state["state"] == "passing" for state in arm.probe.states[said:])
    assert np.abs(arm.plant.truth.q - ARM.home).max() < 0.05
    assert arm.probe.count("gate", "state_names") == arm.probe.count("gate", "state_stamp_backwards") == 0


def test_a_second_publisher_of_the_arm_s_joints_is_refused_and_named(arm: Arm) -> None:
    said = len(arm.probe.states)

    def named(node: str) -> bool:
        found = "/joint_state_publisher" in diagnosis(arm.probe, node)
        return found and arm.probe.diagnostics[node].level == DiagnosticStatus.ERROR

    with stranger(arm.probe, "joint_state_publisher") as publish:

        def beside(stamp_ns: int) -> None:
            if (stamp_ns // 5_000_000) % 4 == 0:
                publish(joint_state(ARM.channel_names, stamp_ns, np.zeros(2), np.zeros(2)))

        def both_name_it() -> bool:
            arm.run(8, beside)
            return named("gate") and named("mpc")

        arm.probe.wait(both_name_it, "the second publisher's name in /diagnostics")
    assert "2 publishers on /joint_states: /joint_state_publisher, /probe" in arm.probe.diagnostics["gate"].message
    assert all(state["state"] == "passing" for state in arm.probe.states[said:])
    assert arm.probe.count("gate", "state_position_jumped") > 0 and np.abs(arm.plant.truth.q - ARM.home).max() < 0.05


def test_the_rate_of_slow_states_is_named_and_the_arm_stays_where_it_is(start: Callable, tmp_path: Path) -> None:
    session = start(launch_file(tmp_path, "planar2", "meta_mpc"))
    made = Arm(session)
    for period_s, words in ((0.02, "states come at 50 Hz"), (0.04, "so that the robot is held")):

        def said(period_s: float = period_s, words: str = words) -> bool:
            made.run(25, period_s=period_s)
            return words in problem(made.probe)

        made.probe.wait(said, f"/diagnostics of mpc: {words}")
        assert np.abs(made.plant.truth.q - ARM.home).max() < 0.05
    session.finish()


class Driver:
    """A robot in real time, at some 100 Hz. stamp: how it stamps its states, by the number of the state and the true
    time [ns].
    """

    def __init__(self, session: object) -> None:
        self.probe, self.stamp, self._number = session.probe, zero, 0
        self._out = self.probe.node.create_publisher(JointState, JointInterface.state_topic, topics.STATE_OUT)
        self._timer = self.probe.node.create_timer(0.01, self._publish)

    def _publish(self) -> None:
        self._number += 1
        now_ns = self.probe.node.get_clock().now().nanoseconds
        noise = np.random.default_rng(self._number).normal(0.0, 1e-4, 2)
        message = joint_state(ARM.channel_names, 0, ARM.home + noise, np.zeros(2))
        message.header.stamp = time_message(self.stamp(self._number, now_ns))
        self._out.publish(message)

    def close(self) -> None:
        self.probe.node.destroy_timer(self._timer)


def zero(number: int, now_ns: int) -> int:
    return 0


def since_boot(number: int, now_ns: int) -> int:
    return now_ns - 1_600_000_000 * 10**9


def negative(number: int, now_ns: int) -> int:
    return -1_000_000_000 - number


# for busy machines
SLOW = {"lockstep": False, "command_timeout_s": 1.0, "state_timeout_s": 1.0, "realtime_priority": 0}


@pytest.mark.real_time
def test_stamps_that_are_no_use_are_named_with_the_remedy(start: Callable, tmp_path: Path) -> None:
    session = start(launch_file(tmp_path, "planar2", "pid", **SLOW))
    driver = Driver(session)
    for stamp, words in ((zero, "stamps are zero: does the driver set header.stamp?"), (since_boot, "since boot?")):
        driver.stamp = stamp
        session.probe.wait(lambda words=words: words in reason(session.probe), f"/gate/state: {words}")
        session.probe.wait(lambda words=words: words in diagnosis(session.probe, "mpc"), f"mpc: {words}")
        assert "stamp_on_arrival:=true" in session.probe.states[-1]["reason"]
    driver.stamp = negative
    threading.Event().wait(0.1)
    driver.stamp = lambda number, now_ns: now_ns
    session.probe.wait_state("passing")
    driver.close()
    session.finish()


@pytest.mark.real_time
def test_states_stamped_on_arrival_drive_the_robot_whatever_their_stamps(start: Callable, tmp_path: Path) -> None:
    session = start(launch_file(tmp_path, "planar2", "pid", stamp_on_arrival=True, **SLOW))
    driver = Driver(session)
    session.probe.wait_state("passing")
    for stamp in (since_boot, negative, zero):
        driver.stamp = stamp
        session.probe.clear()
        session.probe.wait(lambda: len(session.probe.commands) > 100, "commands")
    assert session.probe.states[-1]["state"] == "passing"
    assert (
        sum(
            session.probe.count(node, f"state_{why}")
            for node in ("gate", "mpc")
            for why in ("stale", "stamp_zero", "future")
        )
        == 0
    )
    driver.close()
    session.finish()


TURN, PLACE = rotation.exp(np.array([np.pi, 0.0, 0.0])), np.array([0.05, -0.02, 0.1])


class Quadrotor:
    """Odometry in the frames of another project, an IMU upside down and off the centre."""

    def __init__(self, session: object) -> None:
        self.probe = session.probe
        self.answers: dict[int, np.ndarray] = {}
        self.probe.listen(Float64MultiArray, OdometryInterface.commands, self._on_command)
        self._odometry = self.probe.node.create_publisher(Odometry, OdometryInterface.state_topic, topics.STATE_OUT)
        self._imu = self.probe.node.create_publisher(Imu, IMU, topics.STATE_OUT)
        self.plant, self.stamp_ns, self._rate = (
            simulation(QUAD).plant(simulation(QUAD).nominal_task()),
            10**9,
            np.zeros(3),
        )
        self._measured = self.plant.reset(np.array([0.0, 0.0, 3.0, *rotation.exp(np.array([0.1, 0.0, 0.0]))]))

    def _on_command(self, message: Float64MultiArray) -> None:
        self.answers[int(message.layout.dim[0].label.split()[0].replace(".", ""))] = np.array(message.data)

    def _mounted(self) -> Inertial:
        """Measurement of the IMU at its place."""
        rate, force = self._measured.v[3:], self._measured.specific_force
        spin = (rate - self._rate) / QUAD.control_period_s
        self._rate = rate
        force = force + np.cross(rate, np.cross(rate, PLACE)) + np.cross(spin, PLACE)
        return Inertial(rotation.rotate_back(TURN, force), rotation.rotate_back(TURN, rate))

    def run(self, count: int, world: str = "map") -> None:
        for _ in range(count):
            self.stamp_ns += round(QUAD.control_period_s * 1e9)
            imu = imu_message("imu_link", self.stamp_ns, self._mounted())
            odometry = odometry_message(world, "drone1/base_link", self.stamp_ns, self._measured.q, self._measured.v)

            def answered(imu: Imu = imu, odometry: Odometry = odometry) -> bool:
                self._imu.publish(imu)
                self._odometry.publish(odometry)
                return self.stamp_ns in self.answers

            self.probe.wait(answered, f"an answer to the state of {self.stamp_ns} ns")
            self._measured = self.plant.step(
                np.maximum(self.answers[self.stamp_ns], QUAD.effort_lower), QUAD.control_period_s
            )


def test_a_quadrotor_flies_by_other_frames_and_a_mounted_imu_and_a_wrong_frame_names_the_parameter(
    start: Callable, tmp_path: Path
) -> None:
    options = {"world_frame": "map", "base_frame": "drone1/base_link", "imu_frame": "imu_link"}
    options |= {"imu_rotation_wxyz": [float(part) for part in TURN], "imu_position_m": [float(part) for part in PLACE]}
    session = start(launch_file(tmp_path, "x500", "se3", **options))
    quad = Quadrotor(session)
    quad.run(300)
    quad.probe.wait_state("passing")
    assert rotation.tilt(quad.plant.truth.q[3:]) < 0.03 and abs(quad.plant.truth.q[2] - 3.0) < 0.2
    assert quad.probe.count("gate", "imu_frame") == quad.probe.count("gate", "state_frame") == 0
    quad.run(40, world="odom")
    words = "odometry: frame_id is 'odom'; must be 'map'; if that is right, set world_frame:=odom"
    quad.probe.wait(lambda: words in reason(quad.probe), "the parameter's name in /gate/state")
    quad.probe.wait(lambda: words in diagnosis(quad.probe, "gate"), "the parameter's name in /diagnostics")
