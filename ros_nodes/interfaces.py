# SPDX-License-Identifier: Apache-2.0
"""ROS messages of a robot: joint states and joint efforts, or odometry, IMU and actuator outputs.

A robot on joints (`JointInterface`) and one with a floating base (`OdometryInterface`) differ in their topics, in the
messages that form a state and in the form of a reference. The nodes use the interface only; a new kind of robot uses
one of the two.

A state arrives as its stamp and a function that reads it, because a message that cannot be read also has a stamp. The
function raises UnusableError. With `stamp_on_arrival` the stamp is the node's clock on arrival. Joint states without
any joint of the robot come from another device and are dropped once the robot's own have come.

A command to the gate carries its source, a name of the sending process: in a JointState as `header.frame_id`, which
an effort does not use, and in a named table in the first label (core/tables.py). It may be empty.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from secrets import token_hex
from typing import Any, NamedTuple, Protocol

import numpy as np
from geometry_msgs.msg import PoseStamped, Quaternion, Transform, Twist, Vector3
from nav_msgs.msg import Odometry, Path
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.subscription import Subscription
from sensor_msgs.msg import Imu, JointState
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory, MultiDOFJointTrajectory, MultiDOFJointTrajectoryPoint

from metarl_robot.core import rotation
from metarl_robot.core.errors import SignalError
from metarl_robot.core.imu_mounting import ImuMounting
from metarl_robot.core.robot import Robot
from metarl_robot.core.signals import Inertial, Plan, State
from metarl_robot.core.tables import NANOSECONDS, Table, table_of
from metarl_robot.ros_nodes import topics
from metarl_robot.ros_nodes.convert import (
    JointOrder,
    JointRules,
    UnusableError,
    duration_message,
    effort_of,
    joint_state,
    listed,
    nanoseconds,
    plan_message,
    stamp_of,
    state_of,
    table_message,
    time_message,
    trajectory_arrays,
    trajectory_message,
)
from metarl_robot.ros_nodes.message_options import ANY, MessageOptions
from metarl_robot.safety.input_validation import NORM_TOLERANCE, number_problem
from metarl_robot.safety.refusals import ADVICE, Rejection, shortened
from metarl_robot.trajectories.flat_outputs import Outputs

Array = NDArray[np.float64]

OnState = Callable[[int, Callable[[], State]], None]
OnInertial = Callable[[int, Callable[[], Inertial]], None]
_INERTIALS = 500  # kept since the last state
SOURCE = token_hex(8)  # name of this process in its commands


class ReferencePoints(NamedTuple):
    """A reference as read from a message.

    begin_ns: stamp of its start; 0 means now. since_ns: (K,) times of its points after the start. points: the robot's
    flat outputs there.
    remarks: texts on ignored parts of the message.
    """

    begin_ns: int
    since_ns: NDArray[np.int64]
    points: Outputs
    remarks: tuple[str, ...] = ()


class GateCommand(NamedTuple):
    """A command as read from a message.

    stamp_ns: -1 if it cannot be read. read: returns the command (nu,); raises UnusableError. source: see the module's
    docstring.
    """

    stamp_ns: int
    read: Callable[[], Array]
    source: str = ""


class Interface(Protocol):
    """Conversions between the nodes' data and a robot's messages.

    commands: topic that drives the robot; state_topic: topic of its states.
    """

    commands: str
    state_topic: str
    gate_command_type: Any
    setpoint_type: Any
    plan_type: Any
    reference_type: Any
    reference_topic: str

    def __init__(self, robot: Any, options: MessageOptions) -> None: ...

    def listen(
        self, node: Node, on_state: OnState, lockstep: bool, on_inertial: OnInertial | None = None
    ) -> list[Subscription]:
        """Subscribe to the robot's measurements."""
        ...

    def watch(self, node: Node, on_state: OnState) -> Subscription:
        """Subscribe to position and velocity only, for occasional use."""
        ...

    def speaker(self, make: Callable[[Any, str, QoSProfile], Any]) -> Callable[[int, State, Array], None]:
        """Return a function that publishes the robot's measurements: (stamp_ns, measured state, acting effort).

        make: creates a publisher of (type, topic, quality).
        """
        ...

    def gate_command(self, stamp_ns: int, effort: Array) -> Any:
        """A controller's command (nu,) for the state of that stamp."""
        ...

    def read_gate_command(self, message: Any) -> GateCommand:
        """Read a message of `gate_command`."""
        ...

    def setpoint(self, stamp_ns: int, q: Array, v: Array) -> Any:
        """The reference at a state's stamp, as a message."""
        ...

    def read_setpoint(self, message: Any) -> tuple[int, Array, Array]:
        """Read a message of `setpoint`: stamp, q (nq,), v (dof,)."""
        ...

    def plan(self, stamp_ns: int, plan: Plan) -> Any:
        """The controller's plan as a message."""
        ...

    def references(
        self, rules: Callable[[], JointRules] = JointRules
    ) -> tuple[tuple[Any, str, Callable[[Any], ReferencePoints]], ...]:
        """Reference messages: type, topic, and a function that reads one or raises SignalError.

        rules: joints that a message may name, evaluated for each message.
        """
        ...

    def reference(self, stamp_ns: int, since_s: Array, points: Outputs) -> Any:
        """A reference as a message: points (K, m) with velocities and accelerations, at times (K,) after the stamp."""
        ...

    @property
    def recorded(self) -> Mapping[str, tuple[str, QoSProfile]]:
        """Topics for a recorder to subscribe to before they have a publisher: type and quality of service."""
        ...


_DEFAULT = MessageOptions()


def interface_of(robot: Robot, options: MessageOptions = _DEFAULT) -> Interface:
    """The interface of a robot. Raises MountingError."""
    return (OdometryInterface if robot.messages == "odometry" else JointInterface)(robot, options)


Stamp = Callable[[Any], int]
"""Reads the time of a message [ns]."""


def stamp_reader(node: Node, options: MessageOptions) -> Stamp:
    """Stamp function: the message's header, or the node's clock on arrival."""
    if not options.stamp_on_arrival:
        return header_stamp
    clock = node.get_clock()
    return lambda message: int(clock.now().nanoseconds)


def header_stamp(message: Any) -> int:
    """The stamp of a message's header [ns]."""
    return nanoseconds(message.header.stamp)


class Frame(NamedTuple):
    """A frame's name, the parameter that sets it, and whether messages in any frame are accepted."""

    name: str
    parameter: str
    any_is_taken: bool = False

    def check(self, message: str, key: str, given: str) -> None:
        """Raise UnusableError if a message is in another frame."""
        if not self.any_is_taken and given.lstrip("/") != self.name.lstrip("/"):
            given = shortened(given, 100)
            remedy = f"if that is right, set {self.parameter}:={given or ANY}"
            raise UnusableError(Rejection.FRAME, f"{message}: {key} is '{given}'; must be '{self.name}'; {remedy}")


class Frames(NamedTuple):
    """The frames of a floating base's messages."""

    world: Frame
    base: Frame
    imu: Frame


def frames_of(robot: Any, options: MessageOptions) -> Frames:
    """Frames from the options, by default from robot.yaml."""

    def frame(parameter: str, given: str, default: str) -> Frame:
        return Frame(default if given in ("", ANY) else given, parameter, given == ANY)

    base = frame("base_frame", options.base_frame, robot.base_frame)
    world = frame("world_frame", options.world_frame, robot.world_frame)
    return Frames(world, base, frame("imu_frame", options.imu_frame, base.name))


class JointInterface:
    """Interface of a robot on joints, matched by name in any order."""

    commands, state_topic = topics.COMMANDS, topics.JOINT_STATES
    gate_command_type = setpoint_type = JointState
    plan_type = reference_type = JointTrajectory
    reference_topic = topics.JOINT_REFERENCE

    def __init__(self, robot: Robot, options: MessageOptions = _DEFAULT) -> None:
        self._names, self._options = robot.channel_names, options
        self._states, self._commands, self._setpoints = (JointOrder(self._names) for _ in range(3))

    def listen(
        self, node: Node, on_state: OnState, lockstep: bool, on_inertial: OnInertial | None = None
    ) -> list[Subscription]:
        return [self.watch(node, on_state)]

    def watch(self, node: Node, on_state: OnState) -> Subscription:
        stamp = stamp_reader(node, self._options)

        def take(message: JointState) -> None:
            if self._states.concerns(message.name):
                on_state(stamp(message), partial(state_of, message, self._states))

        return node.create_subscription(JointState, topics.JOINT_STATES, take, topics.STATE_IN)

    def speaker(self, make: Callable[[Any, str, QoSProfile], Any]) -> Callable[[int, State, Array], None]:
        out = make(JointState, topics.JOINT_STATES, topics.STATE_OUT)

        def speak(stamp_ns: int, state: State, effort: Array) -> None:
            out.publish(joint_state(self._names, stamp_ns, state.q, state.v, effort))

        return speak

    def gate_command(self, stamp_ns: int, effort: Array) -> JointState:
        return joint_state(self._names, stamp_ns, effort=effort, frame=SOURCE)

    def read_gate_command(self, message: JointState) -> GateCommand:
        read = partial(effort_of, message, self._commands)
        return GateCommand(nanoseconds(message.header.stamp), read, message.header.frame_id)

    def setpoint(self, stamp_ns: int, q: Array, v: Array) -> JointState:
        return joint_state(self._names, stamp_ns, q, v)

    def read_setpoint(self, message: JointState) -> tuple[int, Array, Array]:
        state = state_of(message, self._setpoints)
        return nanoseconds(message.header.stamp), state.q, state.v

    def plan(self, stamp_ns: int, plan: Plan) -> JointTrajectory:
        return plan_message(self._names, stamp_ns, plan)

    def references(
        self, rules: Callable[[], JointRules] = JointRules
    ) -> tuple[tuple[Any, str, Callable[[Any], ReferencePoints]], ...]:
        return ((JointTrajectory, self.reference_topic, lambda message: self._read_reference(message, rules())),)

    def _read_reference(self, message: JointTrajectory, rules: JointRules) -> ReferencePoints:
        since_ns, points = trajectory_arrays(message, self._names, rules)
        missing = [name for name in self._names if name not in message.joint_names]
        extra = [name for name in message.joint_names if name not in self._names]
        remarks = (
            *([f"joints {missing} hold"] if missing else ()),
            *([f"joints {extra} are ignored"] if extra else ()),
        )
        return ReferencePoints(nanoseconds(message.header.stamp), since_ns, points, remarks)

    def reference(self, stamp_ns: int, since_s: Array, points: Outputs) -> JointTrajectory:
        return trajectory_message(self._names, stamp_ns, since_s, points)

    @property
    def recorded(self) -> Mapping[str, tuple[str, QoSProfile]]:
        return {
            topics.JOINT_STATES: ("sensor_msgs/msg/JointState", topics.STATE_OUT),
            topics.COMMANDS: ("std_msgs/msg/Float64MultiArray", topics.COMMAND),
            topics.GATE_COMMAND: ("sensor_msgs/msg/JointState", topics.COMMAND),
            topics.JOINT_REFERENCE: ("trajectory_msgs/msg/JointTrajectory", topics.REFERENCE_QOS),
            topics.SETPOINT: ("sensor_msgs/msg/JointState", topics.REPORT),
            topics.PLAN: ("trajectory_msgs/msg/JointTrajectory", topics.REPORT),
        }


class OdometryInterface:
    """Interface of a robot with a floating base.

    World frame ENU, body frame FLU. The pose of an Odometry is in its header's frame, the twist in its child's.
    """

    commands, state_topic = topics.THRUSTS, topics.ODOMETRY
    gate_command_type = Float64MultiArray
    setpoint_type = Odometry
    plan_type = Path
    reference_type = MultiDOFJointTrajectory
    reference_topic = topics.POSE_REFERENCE

    def __init__(self, robot: Any, options: MessageOptions = _DEFAULT) -> None:
        self._names, self._options = robot.channel_names, options
        self._frames = frames_of(robot, options)
        self._mounting()

    def _mounting(self) -> ImuMounting:
        return ImuMounting(self._options.imu_rotation_wxyz, self._options.imu_position_m)

    def listen(
        self, node: Node, on_state: OnState, lockstep: bool, on_inertial: OnInertial | None = None
    ) -> list[Subscription]:
        stamp = stamp_reader(node, self._options)
        ears = OdometryAndImu(self._frames, self._mounting(), stamp, on_state, lockstep, on_inertial)
        return [
            node.create_subscription(Odometry, topics.ODOMETRY, ears.take_odometry, topics.STATE_IN),
            node.create_subscription(Imu, topics.IMU, ears.take_imu, topics.IMU_IN),
        ]

    def watch(self, node: Node, on_state: OnState) -> Subscription:
        stamp = stamp_reader(node, self._options)
        ears = OdometryAndImu(self._frames, self._mounting(), stamp, on_state, lockstep=False)
        return node.create_subscription(Odometry, topics.ODOMETRY, ears.take_odometry, topics.STATE_IN)

    def speaker(self, make: Callable[[Any, str, QoSProfile], Any]) -> Callable[[int, State, Array], None]:
        odometry, imu = make(Odometry, topics.ODOMETRY, topics.STATE_OUT), make(Imu, topics.IMU, topics.STATE_OUT)

        def speak(stamp_ns: int, state: State, effort: Array) -> None:
            if state.specific_force is not None:
                imu.publish(imu_message(self._frames.imu.name, stamp_ns, Inertial(state.specific_force, state.v[3:])))
            odometry.publish(self.setpoint(stamp_ns, state.q, state.v))

        return speak

    def gate_command(self, stamp_ns: int, effort: Array) -> Float64MultiArray:
        return table_message(Table(stamp_ns, ("effort",), self._names, effort[None], SOURCE))

    def read_gate_command(self, message: Float64MultiArray) -> GateCommand:
        try:
            table = table_of(message)
        except SignalError as error:
            return GateCommand(-1, partial(_fail, UnusableError(Rejection.NAMES, f"command: {error}")))
        return GateCommand(table.stamp_ns, partial(self._effort, table), table.source)

    def _effort(self, table: Table) -> Array:
        if set(table.columns) != set(self._names) or len(table.columns) != len(self._names):
            raise UnusableError(
                Rejection.NAMES,
                f"command: columns are {listed(table.columns)}; they must be {list(self._names)}, in any order",
            )
        return table.values[0][[table.columns.index(name) for name in self._names]]

    def setpoint(self, stamp_ns: int, q: Array, v: Array) -> Odometry:
        return odometry_message(self._frames.world.name, self._frames.base.name, stamp_ns, q, v)

    def read_setpoint(self, message: Odometry) -> tuple[int, Array, Array]:
        state = odometry_state(message)
        return nanoseconds(message.header.stamp), state.q, state.v

    def plan(self, stamp_ns: int, plan: Plan) -> Path:
        message = Path()
        world = self._frames.world.name
        message.header.stamp, message.header.frame_id = time_message(stamp_ns), world
        for time, q in zip(plan.times, plan.q, strict=True):
            pose = PoseStamped()
            pose.header.stamp, pose.header.frame_id = time_message(stamp_of(float(time))), world
            _place(pose.pose.position, q[:3])
            pose.pose.orientation = quaternion_message(q[3:])
            message.poses.append(pose)
        return message

    def references(
        self, rules: Callable[[], JointRules] = JointRules
    ) -> tuple[tuple[Any, str, Callable[[Any], ReferencePoints]], ...]:
        return (
            (MultiDOFJointTrajectory, self.reference_topic, self._read_trajectory),
            (Path, topics.PATH_REFERENCE, self._read_path),
        )

    def _read_trajectory(self, message: MultiDOFJointTrajectory) -> ReferencePoints:
        self._frames.world.check("reference", "frame_id", message.header.frame_id)
        if list(message.joint_names) not in ([], [self._frames.base.name]):
            raise SignalError(
                f"reference: joint_names are {listed(message.joint_names)}; must be ['{self._frames.base.name}']"
            )
        if not message.points or any(len(point.transforms) != 1 for point in message.points):
            raise SignalError("reference: needs points with one transform each")
        poses = [(t.translation, t.rotation) for t in (point.transforms[0] for point in message.points)]
        since_ns = np.array([nanoseconds(point.time_from_start) for point in message.points], dtype=np.int64)
        velocities, accelerations = (self._twists(message, field) for field in ("velocities", "accelerations"))
        return ReferencePoints(
            nanoseconds(message.header.stamp), since_ns, Outputs(_outputs(poses), velocities, accelerations)
        )

    def _twists(self, message: MultiDOFJointTrajectory, field: str) -> Array | None:
        lists = [getattr(point, field) for point in message.points]
        if not any(lists):
            return None
        for number, twists in enumerate(lists):
            if len(twists) != 1:
                raise SignalError(
                    f"reference: point {number} has {len(twists)} {field}; either every point has one, or none has"
                )
        return np.array([[t.linear.x, t.linear.y, t.linear.z, t.angular.z] for (t,) in lists])

    def _read_path(self, message: Path) -> ReferencePoints:
        self._frames.world.check("path", "frame_id", message.header.frame_id)
        if not message.poses:
            raise SignalError("path: no poses")
        stamps = np.array([nanoseconds(pose.header.stamp) for pose in message.poses], dtype=np.int64)
        if len(stamps) > 1 and not np.all(np.diff(stamps) > 0):
            raise SignalError(
                "path: every pose needs a stamp, the time to be there, later than that of the pose before"
            )
        poses = [(pose.pose.position, pose.pose.orientation) for pose in message.poses]
        return ReferencePoints(int(stamps[0]), stamps - stamps[0], Outputs(_outputs(poses), None, None))

    def reference(self, stamp_ns: int, since_s: Array, points: Outputs) -> MultiDOFJointTrajectory:
        message = MultiDOFJointTrajectory(joint_names=[self._frames.base.name])
        message.header.stamp, message.header.frame_id = time_message(stamp_ns), self._frames.world.name
        for k, y in enumerate(points.positions):
            transform = Transform(translation=_vector(y[:3]), rotation=quaternion_message(rotation.from_yaw(y[3])))
            point = MultiDOFJointTrajectoryPoint(
                transforms=[transform], time_from_start=duration_message(float(since_s[k]))
            )
            for field, values in (("velocities", points.velocities), ("accelerations", points.accelerations)):
                if values is not None:
                    setattr(
                        point,
                        field,
                        [Twist(linear=_vector(values[k, :3]), angular=_vector(np.array([0.0, 0.0, values[k, 3]])))],
                    )
            message.points.append(point)
        return message

    @property
    def recorded(self) -> Mapping[str, tuple[str, QoSProfile]]:
        return {
            topics.ODOMETRY: ("nav_msgs/msg/Odometry", topics.STATE_OUT),
            topics.IMU: ("sensor_msgs/msg/Imu", topics.STATE_OUT),
            topics.THRUSTS: ("std_msgs/msg/Float64MultiArray", topics.COMMAND),
            topics.GATE_COMMAND: ("std_msgs/msg/Float64MultiArray", topics.COMMAND),
            topics.POSE_REFERENCE: ("trajectory_msgs/msg/MultiDOFJointTrajectory", topics.REFERENCE_QOS),
            topics.PATH_REFERENCE: ("nav_msgs/msg/Path", topics.REFERENCE_QOS),
            topics.SETPOINT: ("nav_msgs/msg/Odometry", topics.REPORT),
            topics.PLAN: ("nav_msgs/msg/Path", topics.REPORT),
        }


class OdometryAndImu:
    """Builds states from odometry and IMU messages.

    Pose and velocity come from the odometry, rate and mean specific force from the IMU since the last state.
    In lockstep a state is complete when both have come with the same stamp. In real time the odometry does not wait.
    """

    def __init__(
        self,
        frames: Frames,
        mounting: ImuMounting,
        stamp: Stamp,
        on_state: OnState,
        lockstep: bool,
        on_inertial: OnInertial | None = None,
    ) -> None:
        self._frames, self._mounting, self._stamp = frames, mounting, stamp
        self._on_state, self._on_inertial, self._lockstep = on_state, on_inertial, lockstep
        self._waiting: tuple[int, Odometry] | None = None
        self._inertials: deque[tuple[int, Inertial]] = deque(maxlen=_INERTIALS)
        self._delivered_ns = self._imu_ns = -1

    def take_odometry(self, message: Odometry) -> None:
        self._waiting = self._stamp(message), message
        if not self._lockstep or self._waiting[0] == self._imu_ns:
            self._deliver(*self._waiting)

    def take_imu(self, message: Imu) -> None:
        self._imu_ns = self._stamp(message)
        inertial = self._inertial(message)
        if self._on_inertial is not None:
            self._on_inertial(self._imu_ns, partial(_given, inertial))
        if isinstance(inertial, Inertial):
            self._remember(inertial)
        if self._lockstep and self._waiting is not None and self._waiting[0] == self._imu_ns:
            self._deliver(*self._waiting)

    def _inertial(self, message: Imu) -> Inertial | UnusableError:
        """The IMU's measurement, or the reason that it is unusable."""
        try:
            return self._mounting.to_base(self._read_imu(message), self._imu_ns / NANOSECONDS)
        except UnusableError as error:
            return error

    def _remember(self, inertial: Inertial) -> None:
        if self._inertials and self._imu_ns < self._inertials[-1][0]:
            self._inertials.clear()  # a new time base
        if not self._inertials or self._imu_ns > self._inertials[-1][0]:
            self._inertials.append((self._imu_ns, inertial))

    def _deliver(self, stamp_ns: int, message: Odometry) -> None:
        self._waiting = None
        since_ns = self._delivered_ns if self._delivered_ns < stamp_ns else -1
        fresh = [inertial for at_ns, inertial in self._inertials if since_ns < at_ns <= stamp_ns]
        self._on_state(stamp_ns, partial(self._read, message, fresh))
        if stamp_ns != self._delivered_ns:
            self._delivered_ns = stamp_ns
            while self._inertials and self._inertials[0][0] <= stamp_ns:
                self._inertials.popleft()

    def _read(self, message: Odometry, inertials: list[Inertial]) -> State:
        self._frames.world.check("odometry", "frame_id", message.header.frame_id)
        self._frames.base.check("odometry", "child_frame_id", message.child_frame_id)
        state = odometry_state(message)
        if not inertials:
            return state
        force = np.mean([inertial.specific_force for inertial in inertials], axis=0)
        return State(state.q, np.concatenate([state.v[:3], inertials[-1].rate]), force)

    def _read_imu(self, message: Imu) -> Inertial:
        self._frames.imu.check("IMU", "frame_id", message.header.frame_id)
        force, rate = _array(message.linear_acceleration), _array(message.angular_velocity)
        attitude = None if message.orientation_covariance[0] == -1.0 else _wxyz(message.orientation)
        _check_numbers("IMU", force, rate, *(() if attitude is None else (attitude,)))
        return Inertial(force, rate, attitude)


def odometry_message(world: str, body: str, stamp_ns: int, q: Array, v: Array) -> Odometry:
    """Pose and velocity (as in State) as a message."""
    message = Odometry(child_frame_id=body)
    message.header.stamp, message.header.frame_id = time_message(stamp_ns), world
    _place(message.pose.pose.position, q[:3])
    message.pose.pose.orientation = quaternion_message(q[3:])
    message.twist.twist = Twist(linear=_vector(rotation.rotate_back(q[3:], v[:3])), angular=_vector(v[3:]))
    return message


def odometry_state(message: Odometry) -> State:
    """Read an odometry message; the quaternion is not normalised. Raises UnusableError."""
    pose, twist = message.pose.pose, message.twist.twist
    attitude, linear = _wxyz(pose.orientation), _array(twist.linear)
    q = np.concatenate([_array(pose.position), attitude])
    _check_numbers("odometry", q, linear)
    velocity = rotation.rotate(rotation.normalise(attitude), linear)
    return State(q, np.concatenate([velocity, _array(twist.angular)]))


def imu_message(body: str, stamp_ns: int, inertial: Inertial) -> Imu:
    """An IMU measurement as a message."""
    message = Imu(linear_acceleration=_vector(inertial.specific_force), angular_velocity=_vector(inertial.rate))
    message.header.stamp, message.header.frame_id = time_message(stamp_ns), body
    if inertial.attitude is None:
        message.orientation_covariance[0] = -1.0  # no attitude, as defined by sensor_msgs/Imu
    else:
        message.orientation = quaternion_message(inertial.attitude)
    return message


def quaternion_message(q: Array) -> Quaternion:
    """Quaternion (4,) wxyz as a message."""
    w, x, y, z = (float(part) for part in q)
    return Quaternion(w=w, x=x, y=y, z=z)


def _array(vector: Any) -> Array:
    return np.array([vector.x, vector.y, vector.z])


def _wxyz(turned: Any) -> Array:
    return np.array([turned.w, turned.x, turned.y, turned.z])


def _check_numbers(message: str, *parts: Array) -> None:
    """Raise UnusableError for numbers that are not finite or implausible, before computing with them."""
    if (why := number_problem(*parts)) is not None:
        raise UnusableError(why, f"{message}: {ADVICE[why]}")


def _vector(values: Array) -> Vector3:
    x, y, z = (float(value) for value in values)
    return Vector3(x=x, y=y, z=z)


def _place(point: Any, values: Array) -> None:
    point.x, point.y, point.z = (float(value) for value in values)


def _outputs(poses: list[tuple[Any, Any]]) -> Array:
    """Positions and yaw, (K, 4)."""
    attitudes = np.array([[r.w, r.x, r.y, r.z] for _, r in poses])
    with np.errstate(over="ignore", invalid="ignore"):
        norms = np.linalg.norm(attitudes, axis=1)
    if not np.all(np.abs(norms - 1.0) <= NORM_TOLERANCE):  # also false for NaN
        worst = int(np.argmax(np.nan_to_num(np.abs(norms - 1.0), nan=np.inf)))
        raise SignalError(
            f"reference: point {worst} has a rotation of norm {norms[worst]:.4g}; allowed: 1 ± {NORM_TOLERANCE}"
        )
    return np.concatenate([np.array([[p.x, p.y, p.z] for p, _ in poses]), rotation.yaw(attitudes)[:, None]], axis=1)


def _given(inertial: Inertial | UnusableError) -> Inertial:
    if isinstance(inertial, UnusableError):
        raise inertial
    return inertial


def _fail(error: UnusableError) -> Array:
    raise error
