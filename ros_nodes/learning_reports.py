# SPDX-License-Identifier: Apache-2.0
"""What a node's adapter has learned, as messages below the node: its context, reports of it, the force from outside.

The topics are `~/context`, `~/contact`, and those of the robot's interface (ReportTopic, ExternalTopic). They are
published only while somebody listens.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from rclpy.node import Node
from std_msgs.msg import Float64MultiArray

from metarl_robot.core.external_force import ExternalForce
from metarl_robot.core.robot import Robot
from metarl_robot.core.signals import Context, State
from metarl_robot.core.tables import Table
from metarl_robot.ros_nodes import topics
from metarl_robot.ros_nodes.convert import context_table, table_message
from metarl_robot.ros_nodes.interface import Interface
from metarl_robot.ros_nodes.managed import heard


class LearningReports:
    """Publishers of one node. frame_prefix: of the frames that the robot's files name."""

    def __init__(self, node: Node, robot: Robot, interface: Interface, frame_prefix: str = "") -> None:
        self._node, self._robot, self._prefix = node, robot, frame_prefix
        self._context_out = node.create_publisher(Float64MultiArray, "~/context", topics.REPORT)
        self._contact_out = node.create_publisher(Float64MultiArray, "~/contact", topics.REPORT)
        self._reports = [
            (report.make, node.create_publisher(report.type, f"~/{report.name}", topics.REPORT))
            for report in interface.reports
        ]
        self._externals = [
            (each.maker(robot), node.create_publisher(each.type, f"~/{each.name}", topics.REPORT))
            for each in interface.external
        ]

    def destroy(self) -> None:
        """Destroy the publishers."""
        own = (self._context_out, self._contact_out)
        for publisher in (*own, *(out for _, out in (*self._reports, *self._externals))):
            self._node.destroy_publisher(publisher)

    def external(self, external: ExternalForce, state: State, stamp_ns: int) -> None:
        """Publish the force from outside at a state."""
        if heard(self._contact_out):
            code = np.array([[topics.CONTACT_CODES[external.contact]]])
            self._contact_out.publish(table_message(Table(stamp_ns, ("value",), topics.CONTACT_COLUMNS, code)))
        for make, out in self._externals:
            if heard(out):
                out.publish(self._prefixed(make(stamp_ns, state, external)))

    def context(self, context: Context, stamp_ns: int) -> None:
        """Publish a context and the reports of it."""
        if heard(self._context_out):
            self._context_out.publish(table_message(context_table(stamp_ns, context)))
        for make, out in self._reports:
            if heard(out) and (message := make(self._robot, stamp_ns, context)) is not None:
                out.publish(self._prefixed(message))

    def _prefixed(self, message: Any) -> Any:
        """The message, with the prefix before its frame if it has one."""
        header = getattr(message, "header", None)
        if self._prefix and header is not None and header.frame_id:
            header.frame_id = self._prefix + header.frame_id
        return message
