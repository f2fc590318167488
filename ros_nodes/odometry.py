# SPDX-License-Identifier: Apache-2.0
"""States of a base in a nav_msgs/Odometry, with or without a sensor_msgs/Imu.

World frame ENU, body frame FLU. The pose of an Odometry is in its header's frame, the twist in its child's.

    topic (as launched)              type                             from → to
    /odom                            nav_msgs/Odometry                plant or driver → mpc, gate: pose in `odom`,
                                     twist in `base_link`
    /imu/data                        sensor_msgs/Imu                  plant or driver → mpc, gate; at any rate
    /mpc/setpoint                    nav_msgs/Odometry                mpc: the reference at each state's stamp
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import cache, partial
from typing import Any, Protocol

import numpy as np
from geometry_msgs.msg import Twist
from nav_msgs.msg import Odometry
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.subscription import Subscription
from sensor_msgs.msg import Imu

from metarl_robot.core import rotation
from metarl_robot.core.imu_mounting import ImuMounting
from metarl_robot.core.signals import Inertial, State
from metarl_robot.core.tables import NANOSECONDS
from metarl_robot.ros_nodes import topics
from metarl_robot.ros_nodes.base_messages import BaseMessages
from metarl_robot.ros_nodes.convert import UnusableError, nanoseconds, time_message
from metarl_robot.ros_nodes.frames import Frames
from metarl_robot.ros_nodes.geometry import quaternion_message, set_point, vector_message, wxyz, xyz
from metarl_robot.ros_nodes.interface import DEFAULT, MakePublisher, OnInertial, OnState, Stamp, stamp_reader
from metarl_robot.ros_nodes.message_options import MessageOptions
from metarl_robot.safety.input_validation import number_problem
from metarl_robot.safety.refusals import ADVICE

Array = NDArray[np.float64]

IMU = "imu/data"
_INERTIALS = 500  # kept since the last state


class Predictor(Protocol):
    """Predicts present states of a base from slow or late odometry.

    words: its state and the reason; empty while measured states are used.
    """

    words: str

    def inertial(self, stamp_s: float, measured: Inertial) -> State | None:
        """Take an IMU's measurement; returns the state at its stamp if a predicted one is due."""
        ...

    def measured(self, stamp_s: float, state: State) -> bool:
        """Take an odometry's state; returns whether predicted states replace it."""
        ...


class OdometryStates(BaseMessages):
    """Measured states and setpoints of a base, as a part of an interface.

    measures_inertia: whether the robot has an IMU; a state in lockstep is then complete when both messages are there.
    """

    measures_inertia = True
    state_topic = "odom"
    setpoint_type = Odometry

    def __init__(self, robot: Any, options: MessageOptions = DEFAULT) -> None:
        super().__init__(robot, options)
        self._mounting()

    @property
    def imu_topic(self) -> str:
        return IMU if self.measures_inertia else ""

    @property
    def measurements(self) -> tuple[tuple[Any, str], ...]:
        return ((Odometry, self.state_topic), *([(Imu, IMU)] if self.measures_inertia else ()))

    def predictor(self) -> Predictor | None:
        """Predicts present states in real time; None: measured states are used as they come."""
        return None

    def _mounting(self) -> ImuMounting:
        return ImuMounting(self._options.imu_rotation_wxyz, self._options.imu_position_m)

    def listen(
        self, node: Node, on_state: OnState, lockstep: bool, on_inertial: OnInertial | None = None
    ) -> list[Subscription]:
        if not self.measures_inertia:
            return [self.watch(node, on_state)]
        ears = self._ears(node, on_state, lockstep, on_inertial)
        if not lockstep:
            ears.predictor, ears.say = self.predictor(), lambda words: node.get_logger().warning(words)
        return [
            node.create_subscription(Odometry, self.state_topic, ears.take_odometry, topics.STATE_IN),
            node.create_subscription(Imu, IMU, ears.take_imu, topics.IMU_IN),
        ]

    def watch(self, node: Node, on_state: OnState) -> Subscription:
        ears = self._ears(node, on_state, lockstep=False)
        return node.create_subscription(Odometry, self.state_topic, ears.take_odometry, topics.STATE_IN)

    def _ears(
        self, node: Node, on_state: OnState, lockstep: bool, on_inertial: OnInertial | None = None
    ) -> OdometryAndImu:
        stamp = stamp_reader(node, self._options)
        return OdometryAndImu(self._frames, self._mounting(), stamp, on_state, lockstep, on_inertial, self._own)

    def _own(self, state: State) -> State:
        """The robot's state from pose and twist of its base."""
        return State(self._base.q(state.q), self._base.v(state.v), state.specific_force)

    def speaker(self, make: MakePublisher) -> Callable[[int, State, Array], None]:
        odometry = make(Odometry, self.state_topic, topics.STATE_OUT)
        imu = make(Imu, IMU, topics.STATE_OUT) if self.measures_inertia else None

        def speak(stamp_ns: int, state: State, effort: Array) -> None:
            if imu is not None and state.specific_force is not None:
                inertial = Inertial(state.specific_force, self._base.twist(state.v)[3:])
                imu.publish(imu_message(self._frames.imu.name, stamp_ns, inertial))
            odometry.publish(self._message(self._frames.odometry.name, stamp_ns, state.q, state.v))

        return speak

    def setpoint(self, stamp_ns: int, q: Array, v: Array) -> Odometry:
        return self._message(self._frames.world.name, stamp_ns, q, v)

    def _message(self, frame: str, stamp_ns: int, q: Array, v: Array) -> Odometry:
        body = self._frames.base.name
        return odometry_message(frame, body, stamp_ns, self._base.pose(q), self._base.twist(v))

    def read_setpoint(self, message: Odometry) -> tuple[int, Array, Array]:
        state = self._own(odometry_state(message))
        return nanoseconds(message.header.stamp), state.q, state.v


class OdometryAndImu:
    """Builds states from odometry and IMU messages.

    Pose and velocity come from the odometry, rate and mean specific force from the IMU since the last state.
    In lockstep a state is complete when both have come with the same stamp. In real time the odometry does not wait.
    own: converts pose (7,) and twist (6,) of the base to the robot's state.
    predictor: its states replace measured ones while it is active. say: called with its text when that changes.
    """

    predictor: Predictor | None = None
    say: Callable[[str], Any] = str

    def __init__(
        self,
        frames: Frames,
        mounting: ImuMounting,
        stamp: Stamp,
        on_state: OnState,
        lockstep: bool,
        on_inertial: OnInertial | None = None,
        own: Callable[[State], State] = lambda state: state,
    ) -> None:
        self._frames, self._mounting, self._stamp, self._own = frames, mounting, stamp, own
        self._on_state, self._on_inertial, self._lockstep = on_state, on_inertial, lockstep
        self._waiting: tuple[int, Odometry] | None = None
        self._inertials: deque[tuple[int, Inertial]] = deque(maxlen=_INERTIALS)
        self._delivered_ns = self._imu_ns = -1
        self._said = ""

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
            self._predict(inertial)
        if self._lockstep and self._waiting is not None and self._waiting[0] == self._imu_ns:
            self._deliver(*self._waiting)

    def _inertial(self, message: Imu) -> Inertial | UnusableError:
        """The IMU's measurement, or the reason that it is unusable."""
        try:
            return self._mounting.to_base(self._read_imu(message), self._imu_ns / NANOSECONDS)
        except UnusableError as error:
            return error

    def _predict(self, inertial: Inertial) -> None:
        """Deliver the predicted state at the IMU's stamp, if one is due."""
        if self.predictor is None:
            return
        state = self.predictor.inertial(self._imu_ns / NANOSECONDS, inertial)
        if state is not None:
            self._delivered_ns = self._imu_ns
            self._on_state(self._imu_ns, lambda: self._own(state))

    def _replaced(self, stamp_ns: int, measured: Callable[[], State]) -> bool:
        """Whether predicted states replace that of an odometry message."""
        if self.predictor is None:
            return False
        try:
            replaced = self.predictor.measured(stamp_ns / NANOSECONDS, measured())
        except UnusableError:
            return False  # delivered, and refused with the reason
        if self.predictor.words != self._said:
            self._said = self.predictor.words
            self.say(self._said or "odometry is used as measured again")
        return replaced

    def _remember(self, inertial: Inertial) -> None:
        if self._inertials and self._imu_ns < self._inertials[-1][0]:
            self._inertials.clear()  # a new time base
        if not self._inertials or self._imu_ns > self._inertials[-1][0]:
            self._inertials.append((self._imu_ns, inertial))

    def _deliver(self, stamp_ns: int, message: Odometry) -> None:
        self._waiting = None
        measured = cache(partial(self._base_state, message))
        if self._replaced(stamp_ns, measured):
            return
        since_ns = self._delivered_ns if self._delivered_ns < stamp_ns else -1
        fresh = [inertial for at_ns, inertial in self._inertials if since_ns < at_ns <= stamp_ns]
        self._on_state(stamp_ns, partial(self._read, measured, fresh))
        if stamp_ns != self._delivered_ns:
            self._delivered_ns = stamp_ns
            while self._inertials and self._inertials[0][0] <= stamp_ns:
                self._inertials.popleft()

    def _base_state(self, message: Odometry) -> State:
        """Pose (7,) and twist (6,) of the base. Raises UnusableError."""
        self._frames.odometry.check("odometry", "frame_id", message.header.frame_id)
        self._frames.base.check("odometry", "child_frame_id", message.child_frame_id)
        return odometry_state(message)

    def _read(self, measured: Callable[[], State], inertials: list[Inertial]) -> State:
        state = measured()
        if not inertials:
            return self._own(state)
        force = np.mean([inertial.specific_force for inertial in inertials], axis=0)
        return self._own(State(state.q, np.concatenate([state.v[:3], inertials[-1].rate]), force))

    def _read_imu(self, message: Imu) -> Inertial:
        self._frames.imu.check("IMU", "frame_id", message.header.frame_id)
        force, rate = xyz(message.linear_acceleration), xyz(message.angular_velocity)
        attitude = None if message.orientation_covariance[0] == -1.0 else wxyz(message.orientation)
        _check_numbers("IMU", force, rate, *(() if attitude is None else (attitude,)))
        return Inertial(force, rate, attitude)


def odometry_message(world: str, body: str, stamp_ns: int, q: Array, v: Array) -> Odometry:
    """Pose (7,) and twist (6,) of a base (core/coordinates.py) as a message."""
    message = Odometry(child_frame_id=body)
    message.header.stamp, message.header.frame_id = time_message(stamp_ns), world
    set_point(message.pose.pose.position, q[:3])
    message.pose.pose.orientation = quaternion_message(q[3:])
    message.twist.twist = Twist(
        linear=vector_message(rotation.rotate_back(q[3:], v[:3])), angular=vector_message(v[3:])
    )
    return message


def odometry_state(message: Odometry) -> State:
    """Pose (7,) and twist (6,) of an odometry message; the quaternion is not normalised. Raises UnusableError."""
    pose, twist = message.pose.pose, message.twist.twist
    attitude, linear = wxyz(pose.orientation), xyz(twist.linear)
    q = np.concatenate([xyz(pose.position), attitude])
    _check_numbers("odometry", q, linear)
    velocity = rotation.rotate(rotation.normalise(attitude), linear)
    return State(q, np.concatenate([velocity, xyz(twist.angular)]))


def imu_message(body: str, stamp_ns: int, inertial: Inertial) -> Imu:
    """An IMU measurement as a message."""
    message = Imu(
        linear_acceleration=vector_message(inertial.specific_force), angular_velocity=vector_message(inertial.rate)
    )
    message.header.stamp, message.header.frame_id = time_message(stamp_ns), body
    if inertial.attitude is None:
        message.orientation_covariance[0] = -1.0  # no attitude, as defined by sensor_msgs/Imu
    else:
        message.orientation = quaternion_message(inertial.attitude)
    return message


def _check_numbers(message: str, *parts: Array) -> None:
    """Raise UnusableError for numbers that are not finite or implausible, before computing with them."""
    if (why := number_problem(*parts)) is not None:
        raise UnusableError(why, f"{message}: {ADVICE[why]}")


def _given(inertial: Inertial | UnusableError) -> Inertial:
    if isinstance(inertial, UnusableError):
        raise inertial
    return inertial
