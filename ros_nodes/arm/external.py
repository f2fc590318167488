# SPDX-License-Identifier: Apache-2.0
"""The external force on an arm, as messages with the stamp of the state to which it belongs.

    topic (as launched)              type                             content

    /mpc/external_torque             sensor_msgs/JointState           effort: external torque at each joint [Nm]
    /mpc/external_wrench             geometry_msgs/WrenchStamped      the same as a wrench on the hand [N, Nm], about
                                     the payload site and in its axes; frame_id: that site

The force includes an object that the robot has picked up since its model was confirmed (/mpc/contact is then
`undecided`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from geometry_msgs.msg import WrenchStamped
from numpy.typing import NDArray
from sensor_msgs.msg import JointState

from metarl_robot.core.external_force import ExternalForce
from metarl_robot.core.signals import State
from metarl_robot.robots.payload import payload_site
from metarl_robot.ros_nodes.convert import time_message
from metarl_robot.ros_nodes.interface import ExternalTopic
from metarl_robot.ros_nodes.joint_states import joint_state

Array = NDArray[np.float64]
Make = Callable[[int, State, ExternalForce], Any]


def _torques(robot: Any) -> Make:
    def make(stamp_ns: int, state: State, external: ExternalForce) -> JointState:
        return joint_state(robot.channel_names, stamp_ns, effort=external.force)

    return make


def _wrenches(robot: Any) -> Make:
    from metarl_robot.robots.arm.dynamics import ArmDynamics  # the gate's process loads no CasADi
    from metarl_robot.robots.arm.hand_wrench import hand_wrench

    dynamics, site = ArmDynamics(robot), payload_site(robot)

    def make(stamp_ns: int, state: State, external: ExternalForce) -> WrenchStamped:
        return wrench_message(stamp_ns, site, hand_wrench(dynamics, state.q, external.force))

    return make


def wrench_message(stamp_ns: int, frame: str, wrench: Array) -> WrenchStamped:
    """A wrench (6,): force [N] and moment [Nm], in the axes of a frame and about its origin."""
    message = WrenchStamped()
    message.header.stamp, message.header.frame_id = time_message(stamp_ns), frame
    for part, values in ((message.wrench.force, wrench[:3]), (message.wrench.torque, wrench[3:])):
        part.x, part.y, part.z = (float(value) for value in values)
    return message


EXTERNAL_TOPICS = (
    ExternalTopic("external_torque", JointState, _torques),
    ExternalTopic("external_wrench", WrenchStamped, _wrenches),
)
