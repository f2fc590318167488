# SPDX-License-Identifier: Apache-2.0
"""Odometry and IMU that lie, stop or come from elsewhere. The test is the quadrotor here: it simulates, publishes and
reads the answers.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from nav_msgs.msg import Odometry
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Imu
from std_msgs.msg import Float64MultiArray

from metarl_robot.core import rotation
from metarl_robot.core.robot import load_robot
from metarl_robot.ros_nodes import topics
from metarl_robot.ros_nodes.interface import interface_of
from metarl_robot.ros_nodes.odometry import IMU
from metarl_robot.ros_nodes.quadrotor.interface import OdometryInterface
from metarl_robot.sim.kinds import simulation

ROBOT = load_robot("x500")
PERIOD_NS = round(ROBOT.control_period_s * 1e9)

LAUNCH = """
launch:
- node: {pkg: metarl_robot, exec: gate, name: gate, param: [
    {name: robot, value: x500}, {name: lockstep, value: 'true'}, {name: grace_s, value: '2.0'}]}
- node: {pkg: metarl_robot, exec: mpc, name: mpc, param: [
    {name: robot, value: x500}, {name: lockstep, value: 'true'}, {name: controller, value: se3}]}
"""

Alter = Callable[[Odometry, Imu], None]


class Quadrotor:
    """Odometry and IMU out, thrusts in, one for each."""

    def __init__(self, session: object) -> None:
        self.probe = session.probe
        self.answers: dict[int, np.ndarray] = {}
        self.probe.listen(Float64MultiArray, OdometryInterface.commands, self._on_command)
        self._outs = {
            kind: self.probe.node.create_publisher(kind, topic, topics.STATE_OUT) for kind, topic in self._topics()
        }
        self._messages: list[object] = []
        self._speak = interface_of(ROBOT).speaker(self._catch)
        self.stamp_ns = 10**9
        self.restart()

    @staticmethod
    def _topics() -> tuple[tuple[type, str], ...]:
        return (Odometry, OdometryInterface.state_topic), (Imu, IMU)

    def _catch(self, kind: type, topic: str, quality: QoSProfile) -> object:
        caught = self._messages

        class Out:
            def publish(self, message: object) -> None:
                caught.append(message)

        return Out()

    def _on_command(self, message: Float64MultiArray) -> None:
        self.answers[int(message.layout.dim[0].label.split()[0].replace(".", ""))] = np.array(message.data)

    def restart(self) -> None:
        self.plant = simulation(ROBOT).plant(simulation(ROBOT).nominal_task())
        self._measured = self.plant.reset(np.array([0.0, 0.0, 3.0, 1.0, 0.0, 0.0, 0.0]))

    def step(self, alter: Alter | None = None) -> np.ndarray:
        """One state, its answer, one control period; returns the answer."""
        self.stamp_ns += PERIOD_NS
        self._messages.clear()
        self._speak(self.stamp_ns, self._measured, np.zeros(4))
        imu, odometry = self._messages
        if alter is not None:
            alter(odometry, imu)
        self.answers.pop(self.stamp_ns, None)

        def answered() -> bool:
            self._outs[Imu].publish(imu)  # again and again, as the plant does
            self._outs[Odometry].publish(odometry)
            return self.stamp_ns in self.answers

        self.probe.wait(answered, f"an answer to the state of {self.stamp_ns} ns")
        thrusts = self.answers[self.stamp_ns]
        assert np.all(np.isfinite(thrusts)) and np.all(thrusts <= ROBOT.effort_limit)
        assert np.all(thrusts >= ROBOT.effort_lower) or np.all(thrusts == 0.0)
        self._measured = self.plant.step(np.maximum(thrusts, ROBOT.effort_lower), ROBOT.control_period_s)
        return thrusts

    def run(self, count: int, alter: Alter | None = None) -> np.ndarray:
        return np.array([self.step(alter) for _ in range(count)])


@pytest.fixture(scope="module")
def quad(start: Callable, tmp_path_factory: pytest.TempPathFactory) -> Quadrotor:
    path: Path = tmp_path_factory.mktemp("launch") / "faults.launch.yaml"
    path.write_text(LAUNCH)
    made = Quadrotor(start(path))
    made.run(20)
    made.probe.wait_state("passing")
    return made


@pytest.fixture(autouse=True)
def passing(request: pytest.FixtureRequest) -> None:
    """Each test begins with a system that works, independent of the test before."""
    if "quad" not in request.fixturenames:
        return
    quad: Quadrotor = request.getfixturevalue("quad")
    quad.restart()
    quad.stamp_ns += 10 * 10**9  # a new time base: it is somewhere else now
    quad.run(30)
    if quad.probe.states[-1]["latched"] == "True":
        quad.run(1400)
        quad.probe.wait_state("holding", latched=True)
        answer = quad.probe.trigger("/gate/rearm")
        assert answer.success, answer.message
        quad.run(5)
        quad.restart()
        quad.stamp_ns += 10 * 10**9
        quad.run(30)
    quad.probe.wait_state("passing")
    quad.run(50)


def other_sign(odometry: Odometry, imu: Imu) -> None:
    q = odometry.pose.pose.orientation
    q.w, q.x, q.y, q.z = -q.w, -q.x, -q.y, -q.z


def slightly_long(odometry: Odometry, imu: Imu) -> None:
    scale(odometry, 1.008)


def scale(odometry: Odometry, by: float) -> None:
    q = odometry.pose.pose.orientation
    q.w, q.x, q.y, q.z = (by * part for part in (q.w, q.x, q.y, q.z))


@pytest.mark.parametrize("alter", [other_sign, slightly_long])
def test_a_quaternion_of_the_other_sign_or_slightly_off_changes_nothing(quad: Quadrotor, alter: Alter) -> None:
    said = len(quad.probe.states)
    flips = np.concatenate([quad.run(2, alter if k % 2 else None) for k in range(30)])
    assert all(state["state"] == "passing" for state in quad.probe.states[said:])
    assert np.abs(flips - ROBOT.hover_thrust).max() < 1.0 and rotation.tilt(quad.plant.truth.q[3:]) < 0.02


def not_normalised(odometry: Odometry, imu: Imu) -> None:
    scale(odometry, 1.05)


def nan_position(odometry: Odometry, imu: Imu) -> None:
    odometry.pose.pose.position.x = float("nan")


def nan_quaternion(odometry: Odometry, imu: Imu) -> None:
    odometry.pose.pose.orientation.y = float("nan")


def infinite_velocity(odometry: Odometry, imu: Imu) -> None:
    odometry.twist.twist.linear.z = float("inf")


def wrong_frame(odometry: Odometry, imu: Imu) -> None:
    odometry.header.frame_id = "map"


def wrong_child(odometry: Odometry, imu: Imu) -> None:
    odometry.child_frame_id = "camera_link"


def elsewhere(odometry: Odometry, imu: Imu) -> None:
    odometry.pose.pose.position.x += np.random.default_rng(odometry.header.stamp.nanosec).choice([-1, 1]) * 5.0


@pytest.mark.parametrize(
    ("alter", "why"),
    [
        # Neighbours have different reasons: the count before is that of the last /diagnostics, up to a second old.
        (nan_position, "not_finite"),
        (not_normalised, "not_normalised"),
        (nan_quaternion, "not_finite"),
        (wrong_frame, "frame"),
        (infinite_velocity, "not_finite"),
        (wrong_child, "frame"),
        (elsewhere, "position_jumped"),
    ],
)
def test_odometry_that_cannot_be_used_is_counted_and_the_robot_kept_level_by_its_imu(
    quad: Quadrotor, alter: Alter, why: str
) -> None:
    before = quad.probe.count("gate", f"state_{why}")
    quad.run(30, alter)
    quad.probe.wait_state("blind")
    assert rotation.tilt(quad.plant.truth.q[3:]) < 0.05 and quad.plant.truth.v[2] > -1.0
    assert quad.probe.wait_count("gate", f"state_{why}", before + 20) <= before + 30
    quad.run(60)
    quad.probe.wait_state("passing", latched=False)  # 0.15 s: it heals


def test_one_bad_state_is_no_reason_to_stop(quad: Quadrotor) -> None:
    said = len(quad.probe.states)
    for alter in (nan_position, wrong_frame, elsewhere, not_normalised):
        quad.step(alter)
        quad.run(5)
    assert all(state["state"] == "passing" for state in quad.probe.states[said:])


@pytest.mark.parametrize(("silence_s", "back"), [(0.1, True), (0.5, True), (2.0, False)])
def test_odometry_that_is_no_use_for_a_while_in_flight(quad: Quadrotor, silence_s: float, back: bool) -> None:
    quad.run(round(silence_s / ROBOT.control_period_s), nan_position)
    quad.probe.wait_state("blind")
    assert rotation.tilt(quad.plant.truth.q[3:]) < 0.1
    if back:
        quad.run(100)
        quad.probe.wait_state("passing", latched=False)
        return
    descent = quad.run(1300)
    quad.probe.wait_state("holding", latched=True)
    assert quad.plant.truth.q[2] < 0.2 and np.all(descent[-1] == 0.0)


def test_an_imu_in_another_frame_is_counted(quad: Quadrotor) -> None:
    before = quad.probe.count("gate", "imu_frame")
    quad.run(10, lambda odometry, imu: setattr(imu.header, "frame_id", "imu_link"))
    quad.probe.wait_count("gate", "imu_frame", before + 5)
    quad.run(5)
    assert quad.probe.states[-1]["state"] == "passing"


def test_a_command_of_another_robot_is_refused(quad: Quadrotor) -> None:
    out = quad.probe.node.create_publisher(Float64MultiArray, topics.GATE_COMMAND, topics.COMMAND)
    quad.probe.wait(lambda: out.get_subscription_count() > 0, "the gate")
    before = quad.probe.count("gate", "command_names")
    out.publish(Float64MultiArray(data=[1.0] * 4))
    quad.probe.wait_count("gate", "command_names", before + 1)
    quad.run(5)
    assert quad.probe.states[-1]["state"] == "passing"
    quad.probe.wait(lambda: named(quad, "2 publishers on /gate/command: /mpc, /probe"), "the second publisher's name")
    assert quad.probe.diagnostics["gate"].level == DiagnosticStatus.ERROR
    quad.probe.node.destroy_publisher(out)
    quad.probe.wait(lambda: not named(quad, "publishers on"), "its end")


def named(quad: Quadrotor, text: str) -> bool:
    return text in quad.probe.diagnostics["gate"].message


def falling(odometry: Odometry, imu: Imu) -> None:
    odometry.twist.twist.linear.z = -8.0


def test_thrust_at_its_limit_for_long_is_a_warning(quad: Quadrotor) -> None:
    """It falls for any command, and does not come any lower."""
    start, rng = quad.plant.truth.q, np.random.default_rng(0)

    def saturated() -> bool:
        quad.step(falling)
        noise_m = 1e-3 * rng.normal(size=3)  # without it, the sensor would be frozen
        quad._measured = quad.plant.reset(start + np.append(noise_m, np.zeros(4)))
        gate = quad.probe.diagnostics.get("gate")
        return gate is not None and "at a limit most of the time" in gate.message

    quad.probe.wait(saturated, "the warning")
    assert quad.probe.diagnostics["gate"].level == DiagnosticStatus.WARN


RELAYED = """
launch:
- include: {file: $(find-pkg-share metarl_robot)/launch/quad.launch.yaml, arg: [
    {name: controller, value: se3}, {name: reference, value: hold}, {name: plant, value: none}]}
- node: {pkg: metarl_robot, exec: plant, name: plant, param: [{name: robot, value: x500}], remap: [
    {from: odom, to: odom_of_the_robot}, {from: imu/data, to: imu_of_the_robot},
    {from: /clock, to: /clock_of_the_robot}]}
"""


class Relay:
    """Passes the plant's odometry and IMU on, with stamps of this machine's clock; or only the IMU."""

    def __init__(self, session: object) -> None:
        self.deaf = False
        self._node = session.probe.node
        self._out = self._node.create_publisher(Odometry, OdometryInterface.state_topic, topics.STATE_OUT)
        self._imu = self._node.create_publisher(Imu, IMU, topics.STATE_OUT)
        session.probe.listen(Odometry, "odom_of_the_robot", self._on_odometry, topics.STATE_IN)
        session.probe.listen(Imu, "imu_of_the_robot", self._on_imu, topics.STATE_IN)

    def _on_odometry(self, message: Odometry) -> None:
        message.header.stamp = self._node.get_clock().now().to_msg()
        if not self.deaf:
            self._out.publish(message)

    def _on_imu(self, message: Imu) -> None:
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._imu.publish(message)


@pytest.mark.real_time
def test_in_real_time_odometry_that_stops_for_two_seconds_ends_in_a_landing(start: Callable, tmp_path: Path) -> None:
    path = tmp_path / "relay.launch.yaml"
    path.write_text(RELAYED)
    session = start(path)
    probe, relay = session.probe, Relay(session)
    for node, name, seconds in (
        ("gate", "command_timeout_s", 1.0),
        ("gate", "state_timeout_s", 1.0),
        ("gate", "max_state_age_s", 10.0),
        ("mpc", "max_state_age_s", 10.0),
    ):  # the relay is no real-time process: on a busy machine it is late
        assert probe.set_parameter(node, name, seconds).successful
    probe.wait_state("passing")
    probe.wait_until(probe.time_s + 1.0)
    relay.deaf = True
    probe.wait_state("blind")
    threading.Event().wait(2.0)  # longer than `auto_resume_s`: no return without re-arming
    assert all(np.all(np.isfinite(table.values)) for table in list(probe.commands))
    relay.deaf = False
    probe.wait_state("holding", latched=True)
    # another topic: its order is its own
    probe.wait(lambda: bool(np.all(probe.commands[-1].values == 0.0)), "the motors to stop")
    probe.wait(lambda: probe.truth[-1].value("position_z_m") < 0.2, "the ground")
    session.finish()
