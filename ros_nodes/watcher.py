# SPDX-License-Identifier: Apache-2.0
"""Watches a running robot, for the page in the browser and for markers."""

from __future__ import annotations

from typing import Any

import numpy as np
from geometry_msgs.msg import WrenchStamped
from numpy.typing import NDArray
from std_msgs.msg import Float64MultiArray

from metarl_robot.core.external_force import Contact
from metarl_robot.core.robot import Robot
from metarl_robot.core.tables import table_of
from metarl_robot.ros_nodes import topics
from metarl_robot.ros_nodes.geometry import xyz
from metarl_robot.ros_nodes.monitor import Monitor
from metarl_robot.view.moment import Force, Moment

Array = NDArray[np.float64]

_CONTACTS = tuple(Contact)


class Watcher(Monitor):
    """A monitor that also keeps the newest plan and external force."""

    def __init__(self, robot: Robot, name: str) -> None:
        super().__init__(robot, name)
        self._robot = robot
        self._plan: Array | None = None
        self._force: Force | None = None
        self._contact = Contact.NONE
        self.create_subscription(self.interface.plan_type, topics.PLAN, self._on_plan, topics.STATE_IN)
        self.create_subscription(Float64MultiArray, topics.CONTACT, self._on_contact, topics.STATE_IN)
        for external in self.interface.external:
            if external.type is WrenchStamped:
                self.create_subscription(WrenchStamped, f"mpc/{external.name}", self._on_wrench, topics.STATE_IN)

    def moment(self) -> Moment | None:
        """The newest values; None before the first state."""
        seen = self.look()
        q, wanted = self.q, self.q_reference
        if q is None or seen["time_s"] is None:
            return None
        values = {name: seen[name] for name in ("error_m", "step_ms", "missed_deadlines", "status", "held")}
        return Moment(
            seen["time_s"],
            q,
            self.simulation.positions(q[None])[0],
            wanted,
            None if wanted is None else self.simulation.positions(wanted[None])[0],
            self._plan,
            self._force,
            self._contact,
            seen["estimates"] or {},
            **values,
        )

    def _on_plan(self, message: Any) -> None:
        q = self.interface.read_plan(message)
        self._plan = self.simulation.positions(q) if len(q) and np.isfinite(q).all() else None

    def _on_contact(self, message: Float64MultiArray) -> None:
        self._contact = _CONTACTS[int(table_of(message).value("contact"))]

    def _on_wrench(self, message: WrenchStamped) -> None:
        self._force = Force(xyz(message.wrench.force), message.header.frame_id)
