# SPDX-License-Identifier: Apache-2.0
"""Messages of commands to a driver that takes speeds, in the forms that drivers take.

commands            topic (as launched)               type
twist               /cmd_vel                          geometry_msgs/TwistStamped, in the base frame
ackermann           /drive                            ackermann_msgs/AckermannDriveStamped, in the base frame (F1TENTH)
speed_steering      /drive_controller/speed_steering  std_msgs/Float64MultiArray: named table, row `command`, columns
                                                      `speed_m_s`, `steering_rad`

A command is (2,): forward speed [m/s] and yaw rate [rad/s], or forward speed and steering angle [rad; left is
positive]. ackermann_msgs is built where it is not installed (messages/provide.py).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from geometry_msgs.msg import Twist, TwistStamped
from numpy.typing import NDArray
from std_msgs.msg import Float64MultiArray

from metarl_robot.core.errors import SignalError
from metarl_robot.core.tables import Table, table_of
from metarl_robot.robots.ground.speed_commands import COLUMNS, SPEED_STEERING, TWIST
from metarl_robot.ros_nodes.convert import nanoseconds, table_message, time_message
from metarl_robot.ros_nodes.geometry import vector_message
from metarl_robot.ros_nodes.interface import SOURCE
from metarl_robot.ros_nodes.messages.provide import provide

Array = NDArray[np.float64]

ACKERMANN = "ackermann"
CMD_VEL, DRIVE, SPEED_STEERING_TOPIC = "cmd_vel", "drive", "drive_controller/speed_steering"


class DriveMessages(NamedTuple):
    """Messages of one form of commands.

    form: of their numbers, a key of COLUMNS. make: message of (stamp_ns, command (2,)). read: (stamp_ns, command (2,))
    of a message; raises SignalError.
    """

    form: str
    type: Any
    topic: str
    make: Callable[[int, Array], Any]
    read: Callable[[Any], tuple[int, Array]]


def drive_messages(commands: str, base_frame: str, say: Callable[[str], None]) -> DriveMessages:
    """The messages of a form of commands. say: is told before ackermann_msgs is built.

    Raises:
        MessagesError: ackermann_msgs is not installed and cannot be built.
    """
    if commands == TWIST:
        return DriveMessages(TWIST, TwistStamped, CMD_VEL, partial(twist_message, base_frame), _read_twist)
    if commands == ACKERMANN:
        provide("ackermann_msgs", say)
        from ackermann_msgs.msg import AckermannDriveStamped

        make = partial(_ackermann_message, AckermannDriveStamped, base_frame)
        return DriveMessages(SPEED_STEERING, AckermannDriveStamped, DRIVE, make, _read_ackermann)
    return DriveMessages(SPEED_STEERING, Float64MultiArray, SPEED_STEERING_TOPIC, _table_message, _read_table)


def twist_message(frame: str, stamp_ns: int, command: Array) -> TwistStamped:
    """Forward speed and yaw rate (2,) as a message."""
    message = TwistStamped()
    message.header.stamp, message.header.frame_id = time_message(stamp_ns), frame
    linear, angular = np.array([command[0], 0.0, 0.0]), np.array([0.0, 0.0, command[1]])
    message.twist = Twist(linear=vector_message(linear), angular=vector_message(angular))
    return message


def _read_twist(message: TwistStamped) -> tuple[int, Array]:
    return nanoseconds(message.header.stamp), np.array([message.twist.linear.x, message.twist.angular.z])


def _ackermann_message(kind: Any, frame: str, stamp_ns: int, command: Array) -> Any:
    """Speed and steering (2,) as a message; zero rates of change: as quickly as the driver can."""
    message = kind()
    message.header.stamp, message.header.frame_id = time_message(stamp_ns), frame
    message.drive.speed, message.drive.steering_angle = float(command[0]), float(command[1])
    return message


def _read_ackermann(message: Any) -> tuple[int, Array]:
    return nanoseconds(message.header.stamp), np.array([message.drive.speed, message.drive.steering_angle])


def _table_message(stamp_ns: int, command: Array) -> Float64MultiArray:
    return table_message(Table(stamp_ns, ("command",), COLUMNS[SPEED_STEERING], command[None], SOURCE))


def _read_table(message: Float64MultiArray) -> tuple[int, Array]:
    table = table_of(message)
    if table.columns != COLUMNS[SPEED_STEERING]:
        raise SignalError(f"columns are {table.columns}; they must be {COLUMNS[SPEED_STEERING]}")
    return table.stamp_ns, table.values[0]
