# SPDX-License-Identifier: Apache-2.0
"""Gravity that a robot's driver adds to the efforts that it is sent, as Franka's and UR's do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.robot import Robot, named
from metarl_robot.core.signals import State

if TYPE_CHECKING:
    from metarl_robot.dynamics.protocols import JointDynamics

Array = NDArray[np.float64]


class DriverGravity:
    """Converts between the efforts that are sent and those that act.

    efforts_include_gravity: the driver adds none.
    """

    def __init__(self, robot: Robot, efforts_include_gravity: bool) -> None:
        self._rest = np.zeros(robot.dof)
        self._dynamics: JointDynamics | None = None
        if robot.drivers_may_add_gravity and not efforts_include_gravity:
            self._dynamics = named(robot.dynamics)(robot)

    def acting(self, sent: Array, state: State) -> Array:
        """The effort (nu,) that acts at a state when one is sent."""
        return sent if self._dynamics is None else sent + self._dynamics.bias(state.q, self._rest)

    def sent(self, acting: Array, state: State) -> Array:
        """The effort (nu,) to send at a state for one to act."""
        return acting if self._dynamics is None else acting - self._dynamics.bias(state.q, self._rest)
