# SPDX-License-Identifier: Apache-2.0
"""Interface of a ground vehicle: odometry in, steering and torque out, paths with or without times as references.

topic (as launched)              type                             from → to
/odom, /mpc/setpoint                                              see odometry.py; of the pose, x, y and yaw are used
/imu/data, with use_imu          sensor_msgs/Imu                  plant or driver → mpc, gate, drive bridge
localiser_topic, if set          geometry_msgs/PoseWithCovarianceStamped  plant or localiser → mpc, gate: see
                                 localiser.py
/mpc/reference, /mpc/plan                                         see pose_references.py
/mpc/reference_path              nav_msgs/Path                    → mpc: poses whose stamps advance are a motion in
                                 time; others (Nav2) are a path, see nav_path.py
/mpc/obstacles                   std_msgs/Float64MultiArray       → mpc: named table of discs, see surroundings.py
/mpc/costmap                     nav_msgs/OccupancyGrid           → mpc: occupied cells are obstacles
/drive_controller/commands       std_msgs/Float64MultiArray       gate → plant or driver: named table, row `effort`,
                                 columns `steering` [rad] and `drive` [Nm], or `left` and `right` [Nm]
                                 to a driver that takes speeds: through drive_bridge.py
/mpc/terrain, /mpc/load          std_msgs/Float64MultiArray       mpc: see terrain.py
/gate/command                    std_msgs/Float64MultiArray       mpc → gate: a table of the same form
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseWithCovarianceStamped
from nav_msgs.msg import OccupancyGrid, Path
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.subscription import Subscription
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import MultiDOFJointTrajectory

from metarl_robot.core import rotation
from metarl_robot.core.signals import State
from metarl_robot.core.tables import NANOSECONDS
from metarl_robot.robots.ground.heading import forward_speed
from metarl_robot.ros_nodes import topics
from metarl_robot.ros_nodes.convert import UnusableError, nanoseconds
from metarl_robot.ros_nodes.ground.localiser import Localiser, pose_message
from metarl_robot.ros_nodes.ground.nav_path import driven
from metarl_robot.ros_nodes.ground.surroundings import discs_message, read_discs, read_grid
from metarl_robot.ros_nodes.ground.terrain import report_topic
from metarl_robot.ros_nodes.interface import (
    DEFAULT,
    MakePublisher,
    ObstacleTopic,
    OnInertial,
    OnState,
    ReferencePoints,
    stamp_reader,
)
from metarl_robot.ros_nodes.message_options import MessageOptions
from metarl_robot.ros_nodes.odometry import OdometryStates
from metarl_robot.ros_nodes.pose_references import PoseReferences
from metarl_robot.ros_nodes.table_commands import TableCommands
from metarl_robot.safety.input_validation import NORM_TOLERANCE
from metarl_robot.safety.refusals import ADVICE, Rejection
from metarl_robot.trajectories.flat_outputs import Outputs

Array = NDArray[np.float64]

STEEPEST_RAD = np.pi / 3.0
"""Larger tilts are not a slope: the vehicle has rolled over, or the frame is not ENU/FLU."""


class GroundInterface(OdometryStates, PoseReferences, TableCommands):
    """See metarl_robot.ros_nodes.interface.Interface."""

    commands = "drive_controller/commands"
    measures_inertia = False
    takes_localiser = True
    output_columns = (0, 1, 3)
    reports = (report_topic("terrain"), report_topic("load"))

    def __init__(self, robot: Any, options: MessageOptions = DEFAULT) -> None:
        super().__init__(robot, options)
        self._robot, self.measures_inertia = robot, options.use_imu
        self._plant: Any = None
        self._latest = State(np.zeros(3), np.zeros(3))
        self._yaws: tuple[NDArray[np.int64], Array] = (np.zeros(0, np.int64), np.zeros(0))
        self.obstacles = (
            ObstacleTopic("obstacles", Float64MultiArray, read_discs, discs_message),
            ObstacleTopic("costmap", OccupancyGrid, partial(read_grid, world=self._frames.world)),
        )

    def listen(
        self, node: Node, on_state: OnState, lockstep: bool, on_inertial: OnInertial | None = None
    ) -> list[Subscription]:
        if not self._options.localiser_topic:
            return [self.watch(node, on_state)]
        localiser = Localiser(node, self._frames.world, self._options, stamp_reader(node, self._options))

        def heard(stamp_ns: int, read: Callable[[], State]) -> None:
            corrected = partial(localiser.corrected, stamp_ns, read)
            if lockstep and localiser.lacks_pose(corrected):
                return  # a state that was refused would not be read again under its stamp
            on_state(stamp_ns, lambda: self._continuous(corrected()))

        self.sources = localiser.sources
        measured = (
            super().listen(node, heard, lockstep, on_inertial)
            if self.measures_inertia
            else [super().watch(node, heard)]
        )
        return [*measured, *localiser.subscribe()]

    def simulate(self, plant: Any) -> None:
        """With a localiser, the simulated vehicle shows its sensors' values instead of a state."""
        self._plant = plant
        if self._options.localiser_topic:
            plant.show_sensors(self._options.use_imu)

    def speaker(self, make: MakePublisher) -> Callable[[int, State, Array], None]:
        measured, topic = super().speaker(make), self._options.localiser_topic
        if not topic:
            return measured
        poses = make(PoseWithCovarianceStamped, topic, topics.LATCHED)

        def speak(stamp_ns: int, state: State, effort: Array) -> None:
            for age_s, pose in self._plant.localised if self._plant is not None else ():
                poses.publish(pose_message(self._frames.world.name, stamp_ns - round(age_s * NANOSECONDS), pose))
            measured(stamp_ns, state, effort)

        return speak

    def watch(self, node: Node, on_state: OnState) -> Subscription:
        """Subscribe to odometry, as measured."""
        return super().watch(node, lambda stamp_ns, read: on_state(stamp_ns, lambda: self._continuous(read())))

    def _own(self, state: State) -> State:
        _check_attitude(state.q[3:])
        return super()._own(state)

    def _continuous(self, state: State) -> State:
        """The state with the yaw nearest to that of the state before."""
        self._latest = State(_yaw_near(state.q, self._latest.q[2]), state.v, state.specific_force)
        return self._latest

    def _read_trajectory(self, message: MultiDOFJointTrajectory) -> ReferencePoints:
        return self._turned(super()._read_trajectory(message))

    def _read_path(self, message: Path) -> ReferencePoints:
        stamps = [nanoseconds(pose.header.stamp) for pose in message.poses]
        if len(stamps) > 1 and np.all(np.diff(stamps) > 0):
            return self._turned(super()._read_path(message))
        self._frames.world.check("path", "frame_id", message.header.frame_id)
        points = np.array([[pose.pose.position.x, pose.pose.position.y] for pose in message.poses]).reshape(-1, 2)
        return self._turned(driven(self._robot, points, self._forward_m_s()))

    def _turned(self, read: ReferencePoints) -> ReferencePoints:
        """The same points with a continuous yaw.

        It begins nearest to the last reference's yaw at this time, so that a reference that arrives in parts stays
        continuous even whole turns ahead of the vehicle; without one, nearest to the vehicle's yaw.
        """
        q = read.points.positions.copy()
        q[:, 2] = np.unwrap(q[:, 2])
        times_ns = read.begin_ns + read.since_ns
        before_ns, before = self._yaws
        goes_on = read.begin_ns != 0 and len(before) > 0 and before_ns[0] <= times_ns[0] <= before_ns[-1]
        yaw = float(np.interp(times_ns[0], before_ns, before)) if goes_on else self._latest.q[2]
        q[:, 2] += _yaw_near(q[0], yaw)[2] - q[0, 2]
        if np.isfinite(q[:, 2]).all():
            self._yaws = times_ns, q[:, 2]
        return read._replace(points=Outputs(q, read.points.velocities, read.points.accelerations))

    def _forward_m_s(self) -> float:
        """Forward speed of the latest state, 0 in reverse."""
        return max(forward_speed(self._latest), 0.0)


def _yaw_near(q: Array, yaw: float) -> Array:
    """Position q (3,) with its yaw turned by whole turns towards another yaw [rad]."""
    return q + np.array([0.0, 0.0, 2.0 * np.pi * np.round((yaw - q[2]) / (2.0 * np.pi))])


def _check_attitude(attitude: Array) -> None:
    """Raise UnusableError for a quaternion (4,) that is not of unit length or that no vehicle on its wheels has."""
    norm = float(np.linalg.norm(attitude))
    if not abs(norm - 1.0) <= NORM_TOLERANCE:
        raise UnusableError(Rejection.NOT_NORMALISED, f"odometry: {ADVICE[Rejection.NOT_NORMALISED]}; norm {norm:.3g}")
    tilt = float(rotation.tilt(attitude / norm))
    if tilt > STEEPEST_RAD:
        raise UnusableError(
            Rejection.FRAME,
            f"odometry: the attitude is tilted by {np.degrees(tilt):.0f} degrees; allowed: up to "
            f"{np.degrees(STEEPEST_RAD):.0f}; frames must be ENU and FLU (z up), and the vehicle on its wheels",
        )
