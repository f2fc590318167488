# SPDX-License-Identifier: Apache-2.0
"""Interface of an arm: joint states in, joint efforts out, joint trajectories as references.

topic (as launched)              type                             from → to
/joint_states, /mpc/setpoint                                      see joint_states.py
/mpc/joint_trajectory, /mpc/plan                                  see joint_trajectories.py
/effort_controller/commands      std_msgs/Float64MultiArray       gate → plant or forward_command_controller:
                                 named table, row `effort`, columns joints, stamp of the state that it answers
/gate/command                    sensor_msgs/JointState           mpc → gate: effort, stamp of the state that it
                                 answers
/mpc/payload                     geometry_msgs/InertiaStamped     mpc: see reports/payload.py
/mpc/external_wrench             geometry_msgs/WrenchStamped      mpc: see external.py
/mpc/external_torque             sensor_msgs/JointState           mpc: see external.py
/payload_sharer/load             geometry_msgs/InertiaStamped     see bridges/payload_sharer.py
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from geometry_msgs.msg import InertiaStamped
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.subscription import Subscription
from sensor_msgs.msg import JointState

from metarl_robot.ros_nodes import topics
from metarl_robot.ros_nodes.arm.accepted_load import read_load
from metarl_robot.ros_nodes.arm.external import EXTERNAL_TOPICS
from metarl_robot.ros_nodes.convert import nanoseconds
from metarl_robot.ros_nodes.interface import DEFAULT, SOURCE, GateCommand
from metarl_robot.ros_nodes.joint_states import JointOrder, JointStates, effort_of, joint_state
from metarl_robot.ros_nodes.joint_trajectories import JointTrajectories
from metarl_robot.ros_nodes.message_options import MessageOptions
from metarl_robot.ros_nodes.reports.payload import PAYLOAD_TOPIC

Array = NDArray[np.float64]


class JointInterface(JointStates, JointTrajectories):
    """See metarl_robot.ros_nodes.interface.Interface."""

    commands = "effort_controller/commands"
    gate_command_type = JointState
    reports = (PAYLOAD_TOPIC,)
    external = EXTERNAL_TOPICS

    def __init__(self, robot: Any, options: MessageOptions = DEFAULT) -> None:
        super().__init__(robot, options)
        self._robot = robot
        self._commands = JointOrder(self._names)

    def listen_to_loads(self, node: Node, take: Callable[[Array], None]) -> list[Subscription]:
        def read(message: InertiaStamped) -> None:
            take(read_load(message, self._robot, self._options.frame_prefix))

        return [node.create_subscription(InertiaStamped, topics.ACCEPTED_LOAD, read, topics.LATCHED)]

    def gate_command(self, stamp_ns: int, effort: Array) -> JointState:
        return joint_state(self._names, stamp_ns, effort=effort, frame=SOURCE)

    def read_gate_command(self, message: JointState) -> GateCommand:
        read = partial(effort_of, message, self._commands)
        return GateCommand(nanoseconds(message.header.stamp), read, message.header.frame_id)
