# SPDX-License-Identifier: Apache-2.0
"""Efforts that act on the robot besides the controller's own: the gate's, a driver's loop's, and measured ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from std_msgs.msg import Float64MultiArray

from metarl_robot.core.errors import SignalError
from metarl_robot.core.robot import Robot
from metarl_robot.core.signals import State
from metarl_robot.core.tables import NANOSECONDS, table_of
from metarl_robot.ros_nodes.driver_gravity import DriverGravity
from metarl_robot.ros_nodes.guarded import readable
from metarl_robot.ros_nodes.measured_efforts import checked_effort
from metarl_robot.ros_nodes.table_commands import OWN

Array = NDArray[np.float64]

DRIVER_S = 0.1
"""An effort of a driver's loop is told to the controller for this long after its command's state."""


class _OfDriver(NamedTuple):
    """An effort (nu,) that a driver's own loop applied, and the stamp of the state of its command [ns].

    own: it moves the robot by itself, without commands.
    """

    stamp_ns: int
    effort: Array
    own: bool


class ActingEfforts:
    """The newest of each source. refuse: reports an unreadable message."""

    def __init__(self, robot: Robot, interface: Any, gravity: DriverGravity, refuse: Callable[[str], None]) -> None:
        self._robot, self._interface, self._gravity, self._refuse = robot, interface, gravity, refuse
        self._gate: Float64MultiArray | None = None
        self._driver: _OfDriver | None = None
        self._read_measured: Callable[[], Array] | None = None

    def on_gate(self, message: Float64MultiArray) -> None:
        """Keep the gate's command."""
        self._gate = message

    def on_driver(self, message: Any) -> None:
        """Keep the effort that a driver's own loop applied."""
        stamp_ns, read, _ = self._interface.read_gate_command(message)
        effort = readable(read)
        self._driver = _OfDriver(stamp_ns, effort, table_of(message).rows[0] == OWN)

    def on_measured(self, read: Callable[[], Array]) -> None:
        """Keep the function that reads the efforts of the newest state."""
        self._read_measured = read

    @property
    def gate(self) -> Array | None:
        """The gate's effort (nu,) as sent; None if there is none or it is unreadable."""
        if self._gate is None:
            return None
        try:
            effort = table_of(self._gate).values[0]
        except SignalError as error:
            self._refuse(f"gate's command cannot be read: {error}")
            return None
        return effort if len(effort) == self._robot.nu else None

    def of_gate(self, state: State) -> Array | None:
        """The gate's effort (nu,) as it acts at a state."""
        sent = self.gate
        return None if sent is None else self._gravity.acting(sent, state)

    def of_driver(self, stamp_ns: int) -> Array | None:
        """The effort (nu,) of a driver's loop; None if it is unknown."""
        driver = self._recent(stamp_ns)
        return None if driver is None or not driver.effort.any() else driver.effort

    def others_act(self, stamp_ns: int) -> bool | None:
        """Whether the driver moves the robot without commands; None if it is unknown."""
        driver = self._recent(stamp_ns)
        return None if driver is None else driver.own

    def _recent(self, stamp_ns: int) -> _OfDriver | None:
        """The driver's, unless it is older than DRIVER_S."""
        if self._driver is None or not 0 <= stamp_ns - self._driver.stamp_ns <= DRIVER_S * NANOSECONDS:
            return None
        return self._driver

    def measured(self, state: State) -> Array:
        """The effort (nu,) in the newest state, as it acts. Raises SignalError."""
        if self._read_measured is None:
            raise SignalError("there is none")
        return self._gravity.acting(checked_effort(self._robot, readable(self._read_measured)), state)
