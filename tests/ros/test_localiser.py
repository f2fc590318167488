# SPDX-License-Identifier: Apache-2.0
"""A localiser's poses correct odometry that drifts: real gate and mpc nodes, and the test is the car."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path as File
from types import SimpleNamespace

import numpy as np
import pytest
from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped
from nav_msgs.msg import Odometry, Path
from numpy.typing import NDArray
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import Imu
from std_msgs.msg import Float64MultiArray, Header

from metarl_robot.core import rotation
from metarl_robot.core.coordinates import BaseCoordinates
from metarl_robot.core.robot import load_robot
from metarl_robot.core.signals import Inertial, State
from metarl_robot.robots.ground.heading import turns
from metarl_robot.robots.ground.localisation import compose, inverse
from metarl_robot.ros_nodes import topics
from metarl_robot.ros_nodes.convert import UnusableError, time_message
from metarl_robot.ros_nodes.geometry import quaternion_message
from metarl_robot.ros_nodes.ground.interface import GroundInterface
from metarl_robot.ros_nodes.interface import interface_of
from metarl_robot.ros_nodes.managed import StateParameters
from metarl_robot.ros_nodes.message_options import MessageOptions, OptionsError, message_options
from metarl_robot.ros_nodes.odometry import IMU, imu_message, odometry_message
from metarl_robot.ros_nodes.sources import refused_counts
from metarl_robot.safety.refusals import Rejection
from metarl_robot.sim.ground.plant import GroundPlant
from metarl_robot.sim.ground.task import GroundTask
from tests.ros.test_state_sources import launch_file

Array = NDArray[np.float64]

CAR = load_robot("f1tenth")
BASE = BaseCoordinates(CAR.coordinates)
LOCALISED = {"localiser_topic": "amcl_pose", "world_frame": "map", "odometry_frame": "odom"}
PERIOD_NS = round(CAR.control_period_s * 1e9)
SLIP, YAW_SLIP = 1.02, 0.006
"""Odometry measures the way SLIP times too long, and turns by YAW_SLIP rad/m too much."""
POSE_EVERY, POSE_LATE = 4, 5
"""Poses at 25 Hz that come 50 ms late, as numbers of states."""
START = np.array([3.0, -2.0, 0.5])


def pose_message(pose: Array, stamp_ns: int, frame: str = "map", variance: float = 1e-4) -> PoseWithCovarianceStamped:
    message = PoseWithCovarianceStamped()
    message.header.stamp, message.header.frame_id = time_message(stamp_ns), frame
    place = message.pose.pose
    place.position.x, place.position.y = float(pose[0]), float(pose[1])
    place.orientation = quaternion_message(rotation.from_yaw(pose[2]))
    message.pose.covariance[[0, 7, 35]] = variance
    return message


class Car:
    """Odometry that drifts and, if asked, a localiser's poses out; efforts in, one for each state."""

    def __init__(self, session: object, frame: str, localised: bool, imu: bool = False) -> None:
        self.probe, self._frame = session.probe, frame
        self.answers: dict[int, Array] = {}
        self.probe.listen(Float64MultiArray, GroundInterface.commands, self._on_command)
        node = self.probe.node
        self._odometry = node.create_publisher(Odometry, "/odom", topics.STATE_OUT)
        self._poses = node.create_publisher(PoseWithCovarianceStamped, "/amcl_pose", topics.LATCHED)
        self._path = node.create_publisher(Path, "/mpc/reference_path", topics.REFERENCE_QOS)
        self._imu = node.create_publisher(Imu, IMU, topics.STATE_OUT) if imu else None
        self._speed = np.zeros(3)
        self.plant, self.stamp_ns, self._localised = GroundPlant(CAR, GroundTask()), 10**9, localised
        self.plant.reset(START, np.zeros(3))
        self.truth: list[Array] = [START]
        self._measured = np.zeros(3) if localised else START

    def _on_command(self, message: Float64MultiArray) -> None:
        self.answers[int(message.layout.dim[0].label.split()[0].replace(".", ""))] = np.array(message.data)

    def follow(self, points: Array) -> None:
        """Send a path (N, 2) [map]."""
        self.probe.wait(lambda: self._path.get_subscription_count() > 0, "the controller")
        message = Path()
        message.header.frame_id = "map"
        for x, y in points:
            pose = PoseStamped()
            pose.pose.position.x, pose.pose.position.y, pose.pose.orientation.w = float(x), float(y), 1.0
            message.poses.append(pose)
        self._path.publish(message)

    def run(self, count: int) -> None:
        for _ in range(count):
            self.stamp_ns += PERIOD_NS
            now = len(self.truth) - 1
            at = max(now - POSE_LATE, 0)
            if self._localised and at % POSE_EVERY == 0:
                self._poses.publish(pose_message(self.truth[at], self.stamp_ns - (now - at) * PERIOD_NS))
            message, imu = self._message(), self._inertial()

            def answered(message: Odometry = message, imu: Imu = imu) -> bool:
                if self._imu is not None:
                    self._imu.publish(imu)
                self._odometry.publish(message)
                return self.stamp_ns in self.answers

            self.probe.wait(answered, f"an answer to the state of {self.stamp_ns} ns")
            self._move(self.answers[self.stamp_ns])

    def _inertial(self) -> Imu:
        """An IMU's values, with biases."""
        truth, before = self.plant.truth, self._speed
        self._speed = truth.v
        force = turns(-truth.q[2]) @ ((truth.v - before) / CAR.control_period_s * (1.0, 1.0, 0.0)) + (0.2, -0.1, 9.8)
        return imu_message("base_link", self.stamp_ns, Inertial(force, np.array([0.0, 0.0, truth.v[2] + 0.02])))

    def _message(self) -> Odometry:
        truth = self.plant.truth
        turned = self._measured[2] - truth.q[2]
        c, s = np.cos(turned), np.sin(turned)
        v = SLIP * np.array([c * truth.v[0] - s * truth.v[1], s * truth.v[0] + c * truth.v[1], truth.v[2] / SLIP])
        q = self._measured
        return odometry_message(self._frame, "base_link", self.stamp_ns, BASE.pose(q), BASE.twist(v))

    def _move(self, effort: Array) -> None:
        before = self.plant.truth.q
        self.plant.step(effort, CAR.control_period_s)
        moved = compose(inverse(before), self.plant.truth.q)
        moved[:2] *= SLIP
        moved[2] += YAW_SLIP * float(np.hypot(*moved[:2]))
        self._measured = compose(self._measured, moved)
        self.truth.append(self.plant.truth.q)


def s_curve() -> Array:
    """Points (N, 2) [map] of two bends, 25 m long, from START on."""
    along = np.linspace(0.0, 25.0, 1251)
    yaw = START[2] + 0.8 * np.sin(along / 4.0)
    steps = (along[1] - along[0]) * np.column_stack([np.cos(yaw), np.sin(yaw)])
    return np.asarray(START[:2] + np.concatenate([np.zeros((1, 2)), np.cumsum(steps[:-1], axis=0)]))


class Road:
    """A node for an interface's subscriptions. hear: takes a message that went over the wire, by its topic."""

    def __init__(self, lockstep: bool = False, **options: object) -> None:
        self.interface = GroundInterface(CAR, MessageOptions(**(LOCALISED | options)))
        self.states: list[tuple[int, Callable[[], State]]] = []
        self.said: list[str] = []
        self.takers: dict[str, Callable] = {}
        self.interface.listen(self, lambda *heard: self.states.append(heard), lockstep)

    def get_clock(self) -> None:
        return

    def get_logger(self) -> Road:
        return self

    def warning(self, text: str, throttle_duration_sec: float) -> None:
        self.said.append(text)

    def create_subscription(self, kind: type, topic: str, take: Callable, quality: object, **more: object) -> None:
        self.takers[topic] = take

    def hear(self, topic: str, message: object) -> None:
        self.takers[topic](deserialize_message(serialize_message(message), type(message)))

    def state(self) -> State:
        """The state by odometry at (1, 2) with a yaw of 0.5 rad, driving forward at 3 m/s."""
        pose = BASE.pose(np.array([1.0, 2.0, 0.5]))
        v = BASE.twist(np.array([3.0 * np.cos(0.5), 3.0 * np.sin(0.5), 0.2]))
        self.hear("odom", odometry_message("odom", "base_link", 10**9, pose, v))
        return self.states[-1][1]()


def test_states_are_those_of_odometry_in_the_localiser_s_frame_turned_with_it() -> None:
    road = Road()
    road.hear("amcl_pose", pose_message(np.array([10.0, 20.0, 2.0]), 10**9))
    state = road.state()
    np.testing.assert_allclose(state.q, [10.0, 20.0, 2.0], atol=1e-9)
    np.testing.assert_allclose(state.v, [3.0 * np.cos(2.0), 3.0 * np.sin(2.0), 0.2], atol=1e-9)
    assert road.interface.setpoint(7, state.q, state.v).header.frame_id == "map"


def inertial(road: Road, force: float = 9.81, rate: float = 0.3) -> None:
    road.hear(
        "imu/data", imu_message("base_link", 10**9, Inertial(np.array([0.0, 0.0, force]), np.array([0, 0, rate])))
    )


@pytest.mark.parametrize("lockstep", [False, True])
def test_with_an_imu_the_rate_is_that_of_its_gyroscope_and_without_messages_it_is_named(lockstep: bool) -> None:
    road = Road(lockstep, use_imu=True)
    road.hear("amcl_pose", pose_message(np.array([10.0, 20.0, 2.0]), 10**9))
    inertial(road)
    state = road.state()
    np.testing.assert_allclose(state.q, [10.0, 20.0, 2.0], atol=1e-9)
    np.testing.assert_allclose(state.v, [3.0 * np.cos(2.0), 3.0 * np.sin(2.0), 0.3], atol=1e-9)
    assert refused_counts(road.interface.sources) == {} and road.interface.imu_topic == "imu/data"
    alone = Road(use_imu=True)
    alone.hear("amcl_pose", pose_message(START, 10**9))
    assert alone.state().v[2] == pytest.approx(0.2)
    assert refused_counts(alone.interface.sources) == {"inertial_odometry_stale": 1}


def test_an_imu_that_cannot_be_right_refuses_the_state_and_is_named() -> None:
    road = Road(use_imu=True)
    road.hear("amcl_pose", pose_message(START, 10**9))
    for k in range(1, 200):
        stamp = 10**9 + k * PERIOD_NS
        road.hear("imu/data", imu_message("base_link", stamp, Inertial(np.array([0.0, 0.0, 1.0]), np.zeros(3))))
        road.hear("odom", odometry_message("odom", "base_link", stamp, BASE.pose(np.zeros(3)), BASE.twist(np.zeros(3))))
        read = road.states[-1][1]
        if k < 10:
            read()
    with pytest.raises(UnusableError, match="IMU: the mean upward specific force is .* with gravity") as refused:
        for _, read in road.states:
            read()
    assert refused.value.why is Rejection.IMPLAUSIBLE


@pytest.mark.parametrize("imu", [False, True])
def test_sensors_of_the_simulated_vehicle_give_over_the_wire_the_state_that_the_simulation_s_suites_give(
    imu: bool,
) -> None:
    errors = {"position_noise_m": 0.003, "velocity_noise_m_s": 0.02, "gyro_bias_rad_s": 0.01 * imu}
    errors |= {"accelerometer_noise_m_s2": 0.3 * imu, "accelerometer_bias_m_s2": 0.2 * imu * np.ones(3)}
    exact = GroundTask(friction=0.5, sensor_delay_s=0.01, **errors)
    suite, shown = GroundPlant(CAR, replace(exact, wheel_odometry=True, imu=imu), 5), GroundPlant(CAR, exact, 5)
    options = MessageOptions(**LOCALISED, use_imu=imu)
    interface, road = GroundInterface(CAR, options), Road(lockstep=True, use_imu=imu)
    interface.simulate(shown)
    out = interface.speaker(lambda kind, topic, quality: SimpleNamespace(publish=partial(road.hear, topic)))
    suite.reset(START, np.zeros(3))
    state, begin_ns = shown.reset(START, np.zeros(3)), 10**9
    for k in range(200):
        out(begin_ns + round(shown.stamp * 1e9), state, np.zeros(2))
        expected, found = suite.measure(), road.states[-1][1]()
        np.testing.assert_allclose(found.q, expected.q, atol=1e-6)
        np.testing.assert_allclose(found.v, expected.v, atol=1e-6)
        assert (found.specific_force is not None) == imu
        effort = np.array([0.25 * np.sin(0.05 * k), 0.3])
        suite.step(effort, CAR.control_period_s)
        state = shown.step(effort, CAR.control_period_s)
    assert np.hypot(*(state.q - shown.truth.q)[:2]) > 0.05  # wheels that slip, by themselves
    assert set(road.takers) == {"odom", "amcl_pose"} | ({"imu/data"} if imu else set())


def test_refused_poses_are_counted_for_diagnostics() -> None:
    road = Road()
    road.hear("amcl_pose", pose_message(START, 10**9, frame="odom"))
    assert refused_counts(road.interface.sources) == {"localiser_frame": 1}


def test_a_state_before_the_first_pose_is_refused_with_the_topic_and_in_lockstep_awaited() -> None:
    road, stepped = Road(), Road(lockstep=True)
    with pytest.raises(UnusableError, match="amcl_pose: there is no pose of the localiser yet") as refused:
        road.state()
    assert refused.value.why is Rejection.NO_POSE
    with pytest.raises(IndexError):
        stepped.state()
    assert "there is no pose" in stepped.said[0]
    stepped.hear("amcl_pose", pose_message(START, 10**9))
    np.testing.assert_allclose(stepped.state().q, START, atol=1e-9)


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (pose_message(START, 10**9, frame="odom"), "frame_id is 'odom'; must be 'map'; .* world_frame:=odom"),
        (pose_message(np.array([np.nan, 0.0, 0.0]), 10**9), "NaN"),
        (pose_message(np.array([1e6, 0.0, 0.0]), 10**9), "above 1000"),
        (pose_message(START, 10**9, variance=1.0), "standard deviations .* 1 m, 1 m, 1 rad; allowed: 0.5 m, 0.3 rad"),
        (pose_message(START, 10**9, variance=float("nan")), "standard deviations"),
        (PoseWithCovarianceStamped(header=Header(frame_id="map")), ""),
    ],
)
def test_a_pose_that_cannot_be_used_is_refused_and_named(message: PoseWithCovarianceStamped, words: str) -> None:
    road = Road()
    message.pose.pose.orientation.w *= 1.0 if words else 0.0
    road.hear("amcl_pose", message)
    with pytest.raises(UnusableError, match=f"amcl_pose: localiser: .*{words or 'norm 0'}"):
        road.state()
    assert road.said


def test_a_wrong_frame_of_odometry_names_its_parameter() -> None:
    road = Road(odometry_frame="wheel_odom")
    road.hear("amcl_pose", pose_message(START, 10**9))
    with pytest.raises(UnusableError, match="must be 'wheel_odom'; .* odometry_frame:=odom"):
        road.state()


def test_a_localiser_needs_a_kind_that_uses_it_and_a_frame_of_odometry_a_localiser() -> None:
    with pytest.raises(OptionsError, match="kind 'arm' use no localiser"):
        interface_of(load_robot("planar2"), MessageOptions(localiser_topic="amcl_pose"))
    with pytest.raises(OptionsError, match="use_imu needs a localiser"):
        message_options(StateParameters(robot="f1tenth", use_imu=True))
    with pytest.raises(OptionsError, match="odometry_frame is 'odom' without a localiser"):
        message_options(StateParameters(robot="f1tenth", odometry_frame="odom"))


def test_a_car_drives_by_a_localiser_and_an_imu(start: Callable, tmp_path: File) -> None:
    session = start(launch_file(tmp_path, "f1tenth", "meta_mpc", use_imu=True, **LOCALISED))
    car = Car(session, "odom", localised=True, imu=True)
    car.run(30)
    session.probe.wait_state("passing")
    line = s_curve()
    car.follow(line[::10])
    car.run(300)
    driven = np.array(car.truth)[:, :2]
    away = np.linalg.norm(driven[:, None] - line, axis=2).min(axis=1)
    assert np.linalg.norm(driven[-1] - driven[0]) > 5.0 and away.max() < 0.15
    assert session.probe.count("mpc", "inertial_odometry_stale") == session.probe.count("gate", "imu_unreadable") == 0
    session.finish()


@pytest.mark.parametrize("localised", [False, True])
def test_a_car_whose_odometry_drifts_keeps_to_its_path_by_a_localiser_alone(
    start: Callable, tmp_path: File, localised: bool
) -> None:
    options = LOCALISED if localised else {"world_frame": "map"}
    session = start(launch_file(tmp_path, "f1tenth", "meta_mpc", **options))
    car = Car(session, "odom" if localised else "map", localised)
    car.run(30)
    session.probe.wait_state("passing")
    line = s_curve()
    car.follow(line[::10])
    car.run(700)
    driven = np.array(car.truth)[:, :2]
    away = np.linalg.norm(driven[:, None] - line, axis=2).min(axis=1)
    assert np.linalg.norm(np.diff(driven, axis=0), axis=1).sum() > 20.0
    assert away.max() < 0.25 if localised else away.max() > 1.0
    session.finish()
