# SPDX-License-Identifier: Apache-2.0
"""ROS messages of a point mass: its two coordinates as joints, and forces in a named table."""

from __future__ import annotations

from metarl_robot.ros_nodes.joint_states import JointStates
from metarl_robot.ros_nodes.joint_trajectories import JointTrajectories
from metarl_robot.ros_nodes.table_commands import TableCommands


class PointMassInterface(JointStates, JointTrajectories, TableCommands):
    """See metarl_robot.ros_nodes.interface.Interface."""

    commands = "force_controller/commands"
