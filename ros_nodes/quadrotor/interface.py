# SPDX-License-Identifier: Apache-2.0
"""Interface of a quadrotor: odometry and IMU in, thrusts of the rotors out, positions and yaw as references.

topic (as launched)              type                             from → to
/odom, /imu/data, /mpc/setpoint                                   see odometry.py
/mpc/reference, /mpc/reference_path, /mpc/plan                    see pose_references.py
/thrust_controller/commands      std_msgs/Float64MultiArray       gate → plant or driver: thrust of each rotor [N];
                                 named table, row `effort`, columns rotors, stamp of the state that it answers;
                                 all 0: motors off
/thrust_controller/acting        std_msgs/Float64MultiArray       bridge → mpc: thrusts that acted, a table of the same
                                 form: made of the commands by an autopilot's rate loop (row `effort`), or flown by it
                                 without us (row `own`); all 0: unknown
/gate/command                    std_msgs/Float64MultiArray       mpc → gate: a table of the same form
/mpc/payload                     geometry_msgs/InertiaStamped     mpc: see reports/payload.py
"""

from __future__ import annotations

from typing import Any

from metarl_robot.robots.quadrotor.state_predictor import StatePredictor
from metarl_robot.ros_nodes.interface import DEFAULT
from metarl_robot.ros_nodes.message_options import MessageOptions
from metarl_robot.ros_nodes.odometry import OdometryStates
from metarl_robot.ros_nodes.pose_references import PoseReferences
from metarl_robot.ros_nodes.reports.payload import PAYLOAD_TOPIC
from metarl_robot.ros_nodes.table_commands import TableCommands


class OdometryInterface(OdometryStates, PoseReferences, TableCommands):
    """See metarl_robot.ros_nodes.interface.Interface."""

    commands = "thrust_controller/commands"
    acting = "thrust_controller/acting"
    reports = (PAYLOAD_TOPIC,)

    def __init__(self, robot: Any, options: MessageOptions = DEFAULT) -> None:
        super().__init__(robot, options)
        self._robot = robot

    def predictor(self) -> StatePredictor:
        return StatePredictor(self._robot)
