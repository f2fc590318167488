# SPDX-License-Identifier: Apache-2.0
"""Messages of a flying robot, one by one: frames, order of quaternions, averaging of the IMU,
references.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Pose, PoseStamped, Transform, Twist
from hypothesis import given, settings
from hypothesis import strategies as st
from nav_msgs.msg import Odometry, Path
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import Imu, JointState
from std_msgs.msg import Float64MultiArray, MultiArrayDimension, MultiArrayLayout
from trajectory_msgs.msg import MultiDOFJointTrajectory, MultiDOFJointTrajectoryPoint

from metarl_robot.core import rotation
from metarl_robot.core.coordinates import POSE, TWIST, Coordinates
from metarl_robot.core.errors import RobotError, SignalError
from metarl_robot.core.imu_mounting import ImuMounting
from metarl_robot.core.robot import load_robot
from metarl_robot.core.signals import Inertial, Plan, State
from metarl_robot.robots.quadrotor.trajectories import FigureEight
from metarl_robot.ros_nodes.acting_efforts import ActingEfforts
from metarl_robot.ros_nodes.arm.interface import JointInterface
from metarl_robot.ros_nodes.convert import UnusableError, nanoseconds, time_message
from metarl_robot.ros_nodes.driver_gravity import DriverGravity
from metarl_robot.ros_nodes.frames import Frame, Frames
from metarl_robot.ros_nodes.interface import Interface, header_stamp, interface_of
from metarl_robot.ros_nodes.joint_states import joint_state
from metarl_robot.ros_nodes.message_options import MessageOptions, OptionsError, SensorParameters, message_options
from metarl_robot.ros_nodes.odometry import (
    IMU,
    OdometryAndImu,
    OdometryStates,
    imu_message,
    odometry_message,
    odometry_state,
)
from metarl_robot.ros_nodes.pose_references import PoseReferences
from metarl_robot.ros_nodes.quadrotor.interface import OdometryInterface
from metarl_robot.ros_nodes.recorder import expected_topics
from metarl_robot.ros_nodes.table_commands import TableCommands
from metarl_robot.safety.refusals import Rejection
from metarl_robot.trajectories.flat_outputs import Outputs, flat_outputs_of

ROBOT = load_robot("x500")
INTERFACE = OdometryInterface(ROBOT)
PLANAR = load_robot("planar2", check_model=False)
WORLD, BODY = "odom", "base_link"
FRAMES = Frames(
    Frame(WORLD, "world_frame"), Frame(BODY, "base_frame"), Frame(BODY, "imu_frame"), Frame(WORLD, "world_frame")
)
Q = np.array([1.0, -2.0, 3.0, *rotation.exp(np.array([0.3, -0.4, 2.5]))])
V = np.array([1.0, 0.5, -0.2, 0.1, -0.3, 0.7])


def over_the_wire(message: object) -> object:
    return deserialize_message(serialize_message(message), type(message))


def test_each_kind_has_the_interface_of_its_base() -> None:
    assert isinstance(interface_of(load_robot("planar2")), JointInterface)
    assert isinstance(interface_of(load_robot("crazyflie")), OdometryInterface)


def test_odometry_carries_pose_in_the_world_and_twist_in_the_body() -> None:
    message = over_the_wire(odometry_message(WORLD, BODY, 7, Q, V))
    turned, twist = message.pose.pose.orientation, message.twist.twist
    assert np.array_equal([turned.w, turned.x, turned.y, turned.z], Q[3:])
    assert np.allclose([twist.linear.x, twist.linear.y, twist.linear.z], rotation.to_matrix(Q[3:]).T @ V[:3])
    assert np.array_equal([twist.angular.x, twist.angular.y, twist.angular.z], V[3:])
    state = odometry_state(message)
    assert np.array_equal(state.q, Q) and np.allclose(state.v, V, atol=1e-12)


class Ears:
    """Result of odometry and IMU: (stamp, state or the reason for none)."""

    def __init__(self, lockstep: bool) -> None:
        self.heard: list[tuple[int, State | Rejection]] = []
        self.inertials: list[Inertial | Rejection] = []
        self._both = OdometryAndImu(FRAMES, ImuMounting(), header_stamp, self._on_state, lockstep, self._on_inertial)

    def _on_state(self, stamp_ns: int, read: Callable[[], State]) -> None:
        try:
            self.heard.append((stamp_ns, read()))
        except UnusableError as error:
            self.heard.append((stamp_ns, error.why))

    def _on_inertial(self, stamp_ns: int, read: Callable[[], Inertial]) -> None:
        try:
            self.inertials.append(read())
        except UnusableError as error:
            self.inertials.append(error.why)

    def odometry(self, stamp_ns: int, alter: Callable[[Odometry], None] = lambda message: None) -> None:
        message = odometry_message(WORLD, BODY, stamp_ns, Q, V)
        alter(message)
        self._both.take_odometry(message)

    def imu(
        self, stamp_ns: int, force: float, rate: float = 0.0, alter: Callable[[Imu], None] = lambda message: None
    ) -> None:
        message = imu_message(BODY, stamp_ns, Inertial(np.full(3, force), np.full(3, rate)))
        alter(message)
        self._both.take_imu(message)


def test_the_imu_is_averaged_since_the_last_state_and_gives_the_newest_rate() -> None:
    ears = Ears(lockstep=False)
    ears.odometry(10)
    for stamp, force in ((12, 1.0), (14, 2.0), (20, 6.0), (25, 100.0)):
        ears.imu(stamp, force, rate=force)
    ears.odometry(20)
    ears.odometry(30)
    first, second, third = (state for _, state in ears.heard)
    assert first.specific_force is None and np.array_equal(first.v[3:], V[3:])
    assert np.allclose(second.specific_force, 3.0) and np.allclose(second.v[3:], 6.0)
    assert np.allclose(third.specific_force, 100.0)


def test_in_lockstep_a_state_is_complete_with_its_imu_in_whatever_order_they_come() -> None:
    ears = Ears(lockstep=True)
    ears.odometry(10)
    assert ears.heard == []
    ears.imu(10, 1.0)
    ears.imu(20, 2.0)
    ears.odometry(20)
    assert [stamp for stamp, _ in ears.heard] == [10, 20]
    assert [state.specific_force[0] for _, state in ears.heard] == [1.0, 2.0]
    ears.odometry(20)
    assert [stamp for stamp, _ in ears.heard] == [10, 20, 20]  # repeated: a listener answers again


def test_what_is_not_finite_in_the_imu_spoils_no_state() -> None:
    ears = Ears(lockstep=False)
    ears.imu(10, np.nan)
    ears.odometry(10)
    assert ears.heard[0][1].specific_force is None


@pytest.mark.parametrize(("key", "given"), [("frame_id", "map"), ("child_frame_id", "camera"), ("frame_id", "")])
def test_a_wrong_frame_is_refused_and_named(key: str, given: str) -> None:
    ears = Ears(lockstep=False)

    def alter(message: Odometry) -> None:
        if key == "frame_id":
            message.header.frame_id = given
        else:
            message.child_frame_id = given

    ears.odometry(1, alter)
    assert ears.heard == [(1, Rejection.FRAME)]
    message = odometry_message(WORLD, BODY, 1, Q, V)
    alter(message)
    with pytest.raises(
        UnusableError, match=f"odometry: {key} is '{given}'; must be '{WORLD if key == 'frame_id' else BODY}'"
    ) as caught:
        ears._both._base_state(message)
    parameter = "world_frame" if key == "frame_id" else "base_frame"
    assert f"set {parameter}:={given or '*'}" in str(caught.value)


def test_an_imu_in_another_frame_is_refused_and_one_that_tells_no_attitude_is_known_by_its_covariance() -> None:
    ears = Ears(lockstep=False)
    ears.imu(1, 9.8, alter=lambda m: setattr(m.header, "frame_id", "imu_link"))
    ears.imu(2, 9.8)
    assert ears.inertials[0] is Rejection.FRAME and ears.inertials[1].attitude is None
    attitude = rotation.exp(np.array([0.1, 0.2, 0.3]))
    ears._both.take_imu(over_the_wire(imu_message(BODY, 3, Inertial(np.zeros(3), np.zeros(3), attitude))))
    assert np.array_equal(ears.inertials[2].attitude, attitude)


def test_commands_carry_their_stamp_and_are_read_by_name() -> None:
    thrusts = np.array([1.0, 2.0, 3.0, 4.0])
    message = over_the_wire(INTERFACE.gate_command(12_000_000_345, thrusts))
    stamp_ns, read, source = INTERFACE.read_gate_command(message)
    assert stamp_ns == 12_000_000_345 and np.array_equal(read(), thrusts)
    message.layout.dim[1].label = ",".join(reversed(ROBOT.channel_names))
    assert np.array_equal(INTERFACE.read_gate_command(message)[1](), thrusts[::-1])
    message.layout.dim[1].label = "a,b,c,d"
    with pytest.raises(UnusableError, match="rotor1"):
        INTERFACE.read_gate_command(message)[1]()
    message.layout.dim = []
    assert INTERFACE.read_gate_command(message)[0] == -1
    with pytest.raises(UnusableError, match="labelled"):
        INTERFACE.read_gate_command(message)[1]()


def test_thrusts_that_acted_tell_whether_they_were_made_of_commands() -> None:
    efforts = ActingEfforts(ROBOT, INTERFACE, DriverGravity(ROBOT, True), print)
    assert efforts.others_act(0) is None and efforts.of_driver(0) is None
    thrusts, late_ns = np.array([1.0, 2.0, 3.0, 4.0]), 10**9 + 200_000_000
    for own in (True, False):
        efforts.on_driver(over_the_wire(INTERFACE.acting_effort(10**9, thrusts, own)))
        assert efforts.others_act(10**9 + 5) is own and np.array_equal(efforts.of_driver(10**9 + 5), thrusts)
        assert efforts.others_act(late_ns) is None and efforts.of_driver(late_ns) is None
    efforts.on_driver(INTERFACE.acting_effort(10**9, np.zeros(4), True))
    assert efforts.others_act(10**9) is True and efforts.of_driver(10**9) is None  # unknown


def test_a_reference_survives_the_wire() -> None:
    flat, times = flat_outputs_of(ROBOT), np.arange(100) * 0.02
    points = flat.outputs(FigureEight(np.array([0.0, 1.0, 2.0]), yaw=0.7), times)
    (_, topic, read), _ = INTERFACE.references()
    assert topic == "mpc/reference"
    begin_ns, since_ns, got, _ = read(over_the_wire(INTERFACE.reference(5_000_000_000, times, points)))
    assert begin_ns == 5_000_000_000 and np.array_equal(since_ns, np.arange(100) * 20_000_000)
    for a, b in zip(got, points, strict=True):
        assert np.allclose(a, b, atol=1e-12)


def test_a_reference_may_tell_places_alone() -> None:
    message = INTERFACE.reference(0, np.array([1.0, 2.0]), Outputs(np.zeros((2, 4)), None, None))
    assert INTERFACE.references()[0][2](over_the_wire(message)).points[1:] == (None, None)


def path(**changes: object) -> Path:
    """Three poses, a second apart, from t = 5 s."""
    plan = Plan(np.array([5.0, 6.0, 7.0]), np.stack([Q, Q, Q]), np.zeros((3, 6)), np.zeros((0, 4)))
    message = INTERFACE.plan(0, plan)
    for key, value in changes.items():
        if key == "frame_id":
            message.header.frame_id = value
        elif key == "stamps":
            for pose, stamp in zip(message.poses, value, strict=True):
                pose.header.stamp = time_message(stamp)
        else:
            message.poses[1].pose.orientation.w = value
    return over_the_wire(message)


def test_a_path_is_a_reference_by_its_poses_stamps() -> None:
    read = INTERFACE.references()[1][2]
    begin_ns, since_ns, points, _ = read(path())
    assert begin_ns == 5_000_000_000 and since_ns.tolist() == [0, 10**9, 2 * 10**9]
    assert np.allclose(points.positions, [*Q[:3], float(rotation.yaw(Q[3:]))]) and points.velocities is None


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"frame_id": "map"}, "path: frame_id is 'map'; must be 'odom'"),
        ({"stamps": (0, 0, 0)}, "every pose needs a stamp"),
        ({"stamps": (3, 2, 5)}, "every pose needs a stamp"),
        ({"w": 3.0}, "point 1 has a rotation of norm"),
        ({"w": float("nan")}, "point 1 has a rotation of norm"),
    ],
)
def test_paths_that_do_not_fit_are_refused(changes: dict, why: str) -> None:
    with pytest.raises(SignalError, match=why):
        INTERFACE.references()[1][2](path(**changes))


def broken(what: str) -> object:
    message = INTERFACE.reference(0, np.array([1.0, 2.0]), Outputs(*(np.zeros((2, 4)) for _ in range(3))))
    if what == "frame":
        message.header.frame_id = "map"
    elif what == "name":
        message.joint_names = ["elbow"]
    elif what == "empty":
        message.points = []
    elif what == "transforms":
        message.points[1].transforms = []
    else:
        message.points[1].velocities = []
    return message


@pytest.mark.parametrize(
    ("what", "why"),
    [
        ("frame", "reference: frame_id is 'map'"),
        ("name", "must be \\['base_link'\\]"),
        ("empty", "needs points"),
        ("transforms", "one transform each"),
        ("velocities", "point 1 has 0 velocities"),
    ],
)
def test_references_that_do_not_fit_are_refused(what: str, why: str) -> None:
    with pytest.raises(SignalError, match=why):
        INTERFACE.references()[0][2](broken(what))


def test_the_setpoint_is_an_odometry_and_the_plan_a_path() -> None:
    stamp_ns, q, v = INTERFACE.read_setpoint(over_the_wire(INTERFACE.setpoint(9, Q, V)))
    assert stamp_ns == 9 and np.array_equal(q, Q) and np.allclose(v, V)
    assert nanoseconds(path().poses[2].header.stamp) == 7 * 10**9


# Frames, mounting and clocks as the nodes' parameters say.


class Listener:
    """A node in the eyes of an interface: keeps the subscriptions' callbacks; its clock stands at 5 s."""

    def __init__(self) -> None:
        self.takes: dict[str, Callable] = {}
        self.now_ns = 5 * 10**9

    def create_subscription(self, kind: type, topic: str, take: Callable, quality: object) -> str:
        self.takes[topic] = take
        return topic

    def get_clock(self) -> Listener:
        return self

    def now(self) -> Listener:
        return self

    @property
    def nanoseconds(self) -> int:
        return self.now_ns


def heard_by(interface: Interface, lockstep: bool = False) -> tuple[Listener, list, list]:
    node, states, inertials = Listener(), [], []
    interface.listen(node, lambda *heard: states.append(heard), lockstep, lambda *heard: inertials.append(heard))
    return node, states, inertials


@pytest.mark.parametrize(
    ("world", "base"),
    [
        ("map", "base_link"),
        ("drone1/odom", "drone1/base_link"),
        ("world", "cf231"),
        ("/odom", "/base_link"),
        ("*", "*"),
    ],
)
def test_frames_are_those_of_the_parameters(world: str, base: str) -> None:
    interface = OdometryInterface(ROBOT, MessageOptions(world, base, imu_frame="*"))
    node, states, inertials = heard_by(interface)
    sent = ("any", "thing") if world == "*" else (world, base)
    node.takes[IMU](imu_message("", 7, Inertial(np.ones(3), np.ones(3))))
    node.takes[OdometryInterface.state_topic](odometry_message(*sent, 7, Q, V))
    assert np.array_equal(states[0][1]().q, Q) and np.array_equal(inertials[0][1]().rate, np.ones(3))
    if world != "*":
        reference = interface.reference(0, np.array([1.0, 2.0]), Outputs(np.zeros((2, 4)), None, None))
        assert reference.header.frame_id == world and len(interface.references()[0][2](reference).since_ns) == 2
        reference.header.frame_id = "elsewhere"
        with pytest.raises(UnusableError, match="set world_frame:=elsewhere"):
            interface.references()[0][2](reference)


def test_an_imu_elsewhere_on_the_robot_is_turned_into_the_base() -> None:
    turn = rotation.exp(np.array([np.pi, 0.0, 0.0]))
    interface = OdometryInterface(ROBOT, MessageOptions(imu_frame="imu_link", imu_rotation_wxyz=tuple(turn)))
    node, states, inertials = heard_by(interface, lockstep=True)
    node.takes[OdometryInterface.state_topic](odometry_message(WORLD, BODY, 7, Q, V))
    node.takes[IMU](imu_message("imu_link", 7, Inertial(np.array([0.0, 1.0, -9.8]), np.array([0.1, 0.2, 0.3]))))
    assert np.allclose(inertials[0][1]().specific_force, [0.0, -1.0, 9.8])
    assert np.allclose(states[0][1]().specific_force, [0.0, -1.0, 9.8]) and np.allclose(
        states[0][1]().v[3:], [0.1, -0.2, -0.3]
    )


@pytest.mark.parametrize("name", ["planar2", "x500"])
def test_stamps_on_arrival_are_the_node_s_time_whatever_the_message_says(name: str) -> None:
    robot = load_robot(name)
    interface = interface_of(robot, MessageOptions(stamp_on_arrival=True))
    node, states, _ = heard_by(interface)
    sent: list = []
    speak = interface.speaker(
        lambda kind, topic, quality: type("Out", (), {"publish": lambda self, m: sent.append((topic, m))})()
    )
    for _ in range(3):
        speak(0, State(robot.home, np.zeros(robot.dof), np.zeros(3)), np.zeros(robot.nu))
        for topic, message in sent:
            node.takes[topic](message)
        sent.clear()
        node.now_ns += 4_000_000
    assert [stamp for stamp, _ in states] == [5_000_000_000, 5_004_000_000, 5_008_000_000]
    assert all(np.array_equal(read().q, robot.home) for _, read in states)


def test_stamps_on_arrival_are_refused_in_lockstep() -> None:
    class Both(SensorParameters):
        lockstep: bool = True

    with pytest.raises(OptionsError, match="stamp_on_arrival needs lockstep:=false"):
        message_options(Both(stamp_on_arrival=True))


def test_joint_states_of_another_device_do_not_count_once_the_arm_has_spoken() -> None:
    robot = load_robot("planar2")
    node, states, _ = heard_by(JointInterface(robot))
    take = node.takes[JointInterface.state_topic]
    gripper = joint_state(["finger_left", "finger_right"], 10**9, np.zeros(2), np.zeros(2))
    take(gripper)
    with pytest.raises(UnusableError, match="no joint 'shoulder' among \\['finger_left', 'finger_right'\\]"):
        states[0][1]()  # so far, the names may be wrong: it is said
    take(joint_state(robot.channel_names, 2 * 10**9, robot.home, np.zeros(2)))
    states[-1][1]()
    take(gripper)
    assert [stamp for stamp, _ in states] == [10**9, 2 * 10**9]
    take(joint_state(["shoulder", "finger_left"], 3 * 10**9, np.zeros(2), np.zeros(2)))
    assert states[-1][0] == 3 * 10**9  # a part of the arm: broken, and said


class PointInterface(OdometryStates, PoseReferences, TableCommands):
    """Of a point on a plane, as another package composes one."""

    commands = "force_controller/commands"
    measures_inertia = False
    output_columns = (0, 1)


POINT = SimpleNamespace(
    channel_names=("x", "y"),
    coordinates=Coordinates(POSE[:2], TWIST[:2], ("x/force_n", "y/force_n")),
    world_frame=WORLD,
    base_frame=BODY,
)


@pytest.mark.parametrize("lockstep", [False, True])
def test_a_kind_with_neither_joints_nor_attitude_composes_its_interface(lockstep: bool) -> None:
    interface = PointInterface(POINT)
    node, states, _ = heard_by(interface, lockstep)
    said: dict = {}
    speak = interface.speaker(
        lambda kind, topic, quality: type("Out", (), {"publish": lambda self, m: said.update({topic: m})})()
    )
    q, v = np.array([1.5, -2.0]), np.array([0.25, 4.0])
    speak(7, State(q, v), np.zeros(2))
    assert list(said) == list(node.takes) == [interface.state_topic]
    node.takes[interface.state_topic](over_the_wire(said[interface.state_topic]))
    stamp_ns, state = states[0][0], states[0][1]()
    assert stamp_ns == 7 and np.array_equal(state.q, q) and np.array_equal(state.v, v)
    assert np.array_equal(interface.read_gate_command(interface.gate_command(7, v)).read(), v)
    points = Outputs(*(np.arange(6.0).reshape(3, 2) + k for k in range(3)))
    got = interface.references()[0][2](over_the_wire(interface.reference(7, np.arange(3.0), points))).points
    assert all(np.array_equal(*pair) for pair in zip(got, points, strict=True))
    plan = interface.plan(7, Plan(np.arange(2.0), np.ones((2, 2)), np.ones((2, 2)), np.ones((1, 2))))
    assert [pose.pose.position.y for pose in plan.poses] == [1.0, 1.0]
    assert set(expected_topics(interface)) >= {interface.state_topic, interface.commands, "mpc/plan"}


def test_a_recorder_knows_the_topics_of_a_kind_and_their_types() -> None:
    arm = {topic: kind for topic, (kind, _) in expected_topics(JointInterface(PLANAR)).items()}
    assert arm == {
        "joint_states": "sensor_msgs/msg/JointState",
        "effort_controller/commands": "std_msgs/msg/Float64MultiArray",
        "gate/command": "sensor_msgs/msg/JointState",
        "mpc/joint_trajectory": "trajectory_msgs/msg/JointTrajectory",
        "mpc/setpoint": "sensor_msgs/msg/JointState",
        "mpc/plan": "trajectory_msgs/msg/JointTrajectory",
        "mpc/payload": "geometry_msgs/msg/InertiaStamped",
        "mpc/external_torque": "sensor_msgs/msg/JointState",
        "mpc/external_wrench": "geometry_msgs/msg/WrenchStamped",
    }
    quadrotor = {topic: kind for topic, (kind, _) in expected_topics(INTERFACE).items()}
    assert quadrotor == {
        "odom": "nav_msgs/msg/Odometry",
        "imu/data": "sensor_msgs/msg/Imu",
        "thrust_controller/commands": "std_msgs/msg/Float64MultiArray",
        "gate/command": "std_msgs/msg/Float64MultiArray",
        "mpc/reference": "trajectory_msgs/msg/MultiDOFJointTrajectory",
        "mpc/reference_path": "nav_msgs/msg/Path",
        "mpc/setpoint": "nav_msgs/msg/Odometry",
        "mpc/plan": "nav_msgs/msg/Path",
        "mpc/payload": "geometry_msgs/msg/InertiaStamped",
    }
    car, localised = load_robot("f1tenth"), MessageOptions(localiser_topic="amcl_pose", use_imu=True)
    assert "imu/data" not in expected_topics(interface_of(car))
    assert expected_topics(interface_of(car, localised))["imu/data"][0] == "sensor_msgs/msg/Imu"


@pytest.mark.parametrize("place", ["no_such_package.messages:Interface", "metarl_robot.ros_nodes.odometry:No", "odd"])
def test_an_interface_that_cannot_be_loaded_is_named(place: str) -> None:
    with pytest.raises(RobotError, match=f"kind of robot 'cart': interface '{place}' cannot be loaded.*'module:name'"):
        interface_of(SimpleNamespace(kind="cart", interface=place))


def test_coordinates_that_are_no_base_s_are_named() -> None:
    odd = SimpleNamespace(
        **{**vars(POINT), "coordinates": Coordinates(("angle_rad", *POSE[:1]), TWIST[:2], ("x", "y"))}
    )
    with pytest.raises(RobotError, match="q has 'angle_rad'.*position_x_m"):
        PointInterface(odd)


# Every reader, for any content of a message.

floats = st.floats() | st.sampled_from([0.0, 1e308, -1e308, np.nan, np.inf, -np.inf])
words = st.text(max_size=5) | st.sampled_from(
    ["", "shoulder", "elbow", "odom", "base_link", "x" * 100_000, "²", "1.000000000 effort", "effort"]
)


def stamped(draw: Callable, message: object) -> object:
    message.header.stamp = Time(
        sec=draw(st.sampled_from([0, -(2**31), 2**31 - 1, -1]) | st.integers(-(2**31), 2**31 - 1)),
        nanosec=draw(st.sampled_from([0, 2**32 - 1]) | st.integers(0, 2**32 - 1)),
    )
    message.header.frame_id = draw(words).replace("\0", "")
    return message


@st.composite
def joint_states(draw: Callable) -> JointState:
    names = draw(st.lists(words, max_size=4) | st.just(["shoulder", "elbow"]))
    values = [draw(st.lists(floats, max_size=4)) for _ in range(3)]
    return stamped(draw, JointState(name=names, position=values[0], velocity=values[1], effort=values[2]))


def filled(draw: Callable, message: object) -> object:
    """All numbers below a message drawn."""
    for field, kind in message.get_fields_and_field_types().items():
        if kind == "double":
            setattr(message, field, draw(floats))
        elif kind.startswith("geometry_msgs"):
            filled(draw, getattr(message, field))
    return message


@st.composite
def odometries(draw: Callable) -> Odometry:
    message = stamped(draw, filled(draw, Odometry()))
    message.child_frame_id = draw(words)
    filled(draw, message.pose.pose), filled(draw, message.twist.twist)
    return message


@st.composite
def imus(draw: Callable) -> Imu:
    return stamped(draw, filled(draw, Imu()))


@st.composite
def tables(draw: Callable) -> Float64MultiArray:
    dims = [MultiArrayDimension(label=label) for label in draw(st.lists(words, max_size=3))]
    return Float64MultiArray(data=draw(st.lists(floats, max_size=4)), layout=MultiArrayLayout(dim=dims))


def read_or_refused(read: Callable, *arguments: object) -> object:
    """The result, or None for the one error that a reader may raise, which is never long."""
    try:
        return read(*arguments)
    except SignalError as error:
        assert 0 < len(str(error)) < 2000
        return None


FUZZ = settings(max_examples=60)


@FUZZ
@given(joint_states())
def test_any_joint_state_is_read_or_refused(message: JointState) -> None:
    interface = JointInterface(PLANAR)
    node, states, _ = heard_by(interface)
    node.takes[JointInterface.state_topic](message)
    for stamp_ns, read in states:
        read_or_refused(read)
        interface.gate_command(stamp_ns, np.zeros(2))
    read_or_refused(interface.read_gate_command(message)[1])
    read_or_refused(interface.read_setpoint, message)


@FUZZ
@given(odometries(), imus(), st.booleans(), st.sampled_from(["", "*"]))
def test_any_odometry_and_imu_are_read_or_refused(odometry: Odometry, imu: Imu, lockstep: bool, frame: str) -> None:
    options = MessageOptions(frame, frame, frame, (0.6, 0.8, 0.0, 0.0), (0.1, 0.2, 0.3))
    node, states, inertials = heard_by(OdometryInterface(ROBOT, options), lockstep)
    for _ in range(2):
        node.takes[IMU](imu)
        node.takes[OdometryInterface.state_topic](odometry)
    got = [read_or_refused(read) for _, read in states + inertials]
    assert all(np.all(np.isfinite(inertial.rate)) for inertial in got if isinstance(inertial, Inertial))
    read_or_refused(INTERFACE.read_setpoint, odometry)
    INTERFACE.gate_command(header_stamp(odometry), np.zeros(4))
    INTERFACE.setpoint(header_stamp(odometry), Q, V)


@FUZZ
@given(tables())
def test_any_table_is_read_or_refused_as_a_command(message: Float64MultiArray) -> None:
    read_or_refused(lambda: INTERFACE.read_gate_command(message)[1]())


@FUZZ
@given(st.data())
def test_any_path_or_trajectory_of_poses_is_read_or_refused(data: st.DataObject) -> None:
    draw = data.draw
    poses = [stamped(draw, PoseStamped(pose=filled(draw, Pose()))) for _ in range(draw(st.integers(0, 3)))]
    path = stamped(draw, Path(poses=poses))
    path.header.frame_id = draw(st.sampled_from(["odom", "", "x" * 100_000]))
    read_or_refused(INTERFACE.references()[1][2], path)
    points = [
        MultiDOFJointTrajectoryPoint(
            transforms=[filled(draw, Transform()) for _ in range(draw(st.integers(0, 2)))],
            velocities=[filled(draw, Twist()) for _ in range(draw(st.integers(0, 2)))],
        )
        for _ in range(draw(st.integers(0, 3)))
    ]
    trajectory = stamped(draw, MultiDOFJointTrajectory(joint_names=draw(st.lists(words, max_size=3)), points=points))
    trajectory.header.frame_id = "odom"
    read_or_refused(INTERFACE.references()[0][2], trajectory)


def test_wrapped_angles_of_an_endless_joint_arrive_continued(probe_alone: Callable) -> None:
    """Through real messages: a joint that passes π, as its driver gives it."""
    robot = load_robot("planar2", check_model=False)
    robot.endless = np.array([True, False])
    angles = np.array([2.9, 3.1, 3.1 + 0.2 - 2.0 * np.pi, 3.1 + 0.4 - 2.0 * np.pi])
    _, probe = probe_alone()
    heard: dict[int, float] = {}
    JointInterface(robot).watch(probe.node, lambda stamp_ns, read: heard.update({stamp_ns: read().q[0]}))
    out = probe.node.create_publisher(JointState, JointInterface.state_topic, 10)
    for k, angle in enumerate(angles):

        def arrived(k: int = k, angle: float = angle) -> bool:
            out.publish(joint_state(robot.channel_names, k, np.array([angle, 1.0]), np.zeros(2)))
            return k in heard

        probe.wait(arrived, f"state {k}")
    assert list(heard.values()) == pytest.approx([2.9, 3.1, 3.3, 3.5])
