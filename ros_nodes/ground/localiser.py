# SPDX-License-Identifier: Apache-2.0
"""A localiser's poses correct the odometry of a ground vehicle (robots/ground/localisation.py).

The motion that slipping wheels do not show is found with an IMU (use_imu; robots/ground/inertial_odometry.py), else by
the poses alone (slip_odometry.py).

    topic (as launched)              type                             from → to
    localiser_topic                  geometry_msgs/PoseWithCovarianceStamped  localiser → mpc, gate, drive bridge: pose
                                     of the base in world_frame, at any rate; from a covariance on, it is refused

A localiser may publish all poses, or keep the last one for subscribers that come later (AMCL, while the robot stands).
One subscription takes the former, another one the latter; a pose that comes on both counts once.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from geometry_msgs.msg import PoseWithCovarianceStamped
from numpy.typing import NDArray
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.node import Node
from rclpy.subscription import Subscription

from metarl_robot.core import rotation
from metarl_robot.core.signals import State
from metarl_robot.core.tables import NANOSECONDS
from metarl_robot.robots.ground.inertial_odometry import InertialOdometry
from metarl_robot.robots.ground.localisation import CORRECTION_S, Localisation
from metarl_robot.robots.ground.slip_odometry import SlipOdometry
from metarl_robot.ros_nodes import topics
from metarl_robot.ros_nodes.convert import UnusableError, time_message
from metarl_robot.ros_nodes.frames import Frame
from metarl_robot.ros_nodes.geometry import quaternion_message, set_point, wxyz, xyz
from metarl_robot.ros_nodes.interface import Source, Stamp
from metarl_robot.ros_nodes.message_options import MessageOptions
from metarl_robot.ros_nodes.odometry import IMU
from metarl_robot.safety.input_validation import NORM_TOLERANCE, number_problem
from metarl_robot.safety.refusals import ADVICE, Rejection

Array = NDArray[np.float64]

SIMULATED_STD_M, SIMULATED_STD_RAD = 0.005, 0.003
"""Standard deviations that the simulated localiser states: those of the suites' noisiest draws."""
MOST_STD_M, MOST_STD_RAD = 0.5, 0.3
"""Poses with a larger standard deviation of x, y or yaw are refused: the localiser is lost."""
_X, _Y, _YAW = 0, 7, 35
"""Places of the variances in a message's covariance (36,)."""


class Localiser:
    """Subscribes to a localiser's poses, and corrects odometry's states. node: logs refusals."""

    def __init__(self, node: Node, world: Frame, options: MessageOptions, stamp: Stamp) -> None:
        self._node, self._world, self._stamp = node, world, stamp
        self._topic = options.localiser_topic
        self._localisation = Localisation(CORRECTION_S)
        self._inertial = InertialOdometry(self._localisation) if options.use_imu else None
        self._slipping = SlipOdometry(self._localisation)

    def subscribe(self) -> list[Subscription]:
        unheard = SubscriptionEventCallbacks(incompatible_qos=lambda _: None, use_default_callbacks=False)
        return [
            self._node.create_subscription(
                PoseWithCovarianceStamped, self._topic, self.take, quality, event_callbacks=unheard
            )
            for quality in (topics.STATE_IN, topics.LATCHED)
        ]

    def take(self, message: PoseWithCovarianceStamped) -> None:
        """Take a pose, or log why it is refused."""
        localisation = self._localisation
        try:
            localisation.localised(self._stamp(message) / NANOSECONDS, self._pose(message))
        except UnusableError as error:
            localisation.refusals.add(error.why, str(error))
        if reason := localisation.refusals.reason:
            self._node.get_logger().warning(f"{self._topic}: {reason}", throttle_duration_sec=1.0)

    def corrected(self, stamp_ns: int, read: Callable[[], State]) -> State:
        """An odometry's state in the world. Raises UnusableError, also before the first pose."""
        state = read()
        found = self._by_imu(stamp_ns, state) if self._inertial is not None else self._by_odometry(stamp_ns, state)
        if found is None:
            reason = self._localisation.refusals.reason or ADVICE[Rejection.NO_POSE]
            raise UnusableError(Rejection.NO_POSE, f"{self._topic}: {reason}")
        return found

    def _by_odometry(self, stamp_ns: int, state: State) -> State | None:
        if (why := number_problem(state.q, state.v)) is not None:
            raise UnusableError(why, f"odometry: {ADVICE[why]}")
        return self._slipping.corrected(stamp_ns / NANOSECONDS, state)

    def _by_imu(self, stamp_ns: int, state: State) -> State | None:
        assert self._inertial is not None
        parts = [part for part in (state.q, state.v, state.specific_force) if part is not None]
        if (why := number_problem(*parts)) is not None:
            raise UnusableError(why, f"odometry or IMU: {ADVICE[why]}")
        found = self._inertial.corrected(stamp_ns / NANOSECONDS, state)
        if problem := self._inertial.problem:
            raise UnusableError(Rejection.IMPLAUSIBLE, problem)
        return found

    @property
    def sources(self) -> tuple[Source, ...]:
        """See metarl_robot.ros_nodes.interface.Interface."""
        own = Source("localiser", self._topic, self._localisation.refusals)
        return (own,) if self._inertial is None else (own, Source("inertial_odometry", IMU, self._inertial.imu))

    def lacks_pose(self, corrected: Callable[[], State]) -> bool:
        """Whether a state cannot be corrected yet; logs that."""
        try:
            corrected()
        except UnusableError as error:
            if error.why is not Rejection.NO_POSE:
                return False
            self._node.get_logger().warning(str(error), throttle_duration_sec=1.0)
            return True
        return False

    def _pose(self, message: PoseWithCovarianceStamped) -> Array:
        """x, y, yaw (3,) of a message. Raises UnusableError."""
        self._world.check("localiser", "frame_id", message.header.frame_id)
        place, attitude = xyz(message.pose.pose.position), wxyz(message.pose.pose.orientation)
        if (why := number_problem(place, attitude)) is not None:
            raise UnusableError(why, f"localiser: {ADVICE[why]}")
        norm = float(np.linalg.norm(attitude))
        if not abs(norm - 1.0) <= NORM_TOLERANCE:
            why = Rejection.NOT_NORMALISED
            raise UnusableError(why, f"localiser: {ADVICE[why]}; norm {norm:.3g}")
        variance = message.pose.covariance[[_X, _Y, _YAW]]
        if not np.all(variance <= np.square([MOST_STD_M, MOST_STD_M, MOST_STD_RAD])):
            x, y, yaw = np.sqrt(np.maximum(variance, 0.0))
            raise UnusableError(
                Rejection.UNSURE,
                f"localiser: standard deviations of x, y, yaw are {x:.2g} m, {y:.2g} m, {yaw:.2g} rad; allowed: "
                f"{MOST_STD_M:g} m, {MOST_STD_RAD:g} rad; {ADVICE[Rejection.UNSURE]}",
            )
        return np.array([*place[:2], rotation.yaw(attitude / norm)])


def pose_message(frame: str, stamp_ns: int, pose: Array) -> PoseWithCovarianceStamped:
    """The simulated localiser's pose x, y, yaw (3,); a stamp before the clock's start becomes 0."""
    message = PoseWithCovarianceStamped()
    message.header.frame_id, message.header.stamp = frame, time_message(max(stamp_ns, 0))
    set_point(message.pose.pose.position, np.array([*pose[:2], 0.0]))
    message.pose.pose.orientation = quaternion_message(rotation.from_yaw(float(pose[2])))
    message.pose.covariance[[_X, _Y, _YAW]] = np.square([SIMULATED_STD_M, SIMULATED_STD_M, SIMULATED_STD_RAD])
    return message
