# SPDX-License-Identifier: Apache-2.0
"""Gravity that a robot's driver adds to the efforts that it is sent, as Franka's and UR's do.

It is that of the nominal robot and, once the driver has accepted one, of a load at the payload's site.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.robot import Robot, named
from metarl_robot.core.signals import State

if TYPE_CHECKING:
    from metarl_robot.dynamics.protocols import CarryingDynamics

Array = NDArray[np.float64]


class DriverGravity:
    """Converts between the efforts that are sent and those that act.

    efforts_include_gravity: the driver adds none.
    """

    def __init__(self, robot: Robot, efforts_include_gravity: bool) -> None:
        self._rest = np.zeros(robot.dof)
        self._load: Array | None = None
        self._dynamics: CarryingDynamics | None = None
        if robot.drivers_may_add_gravity and not efforts_include_gravity:
            self._dynamics = named(robot.dynamics)(robot)

    @property
    def is_added(self) -> bool:
        """Whether the driver adds gravity."""
        return self._dynamics is not None

    def carry(self, load: Array) -> None:
        """Take the parameters (10,) of the load that the driver compensates: robots/payload.py."""
        self._load = load if load.any() else None

    def acting(self, sent: Array, state: State) -> Array:
        """The effort (nu,) that acts at a state when one is sent."""
        return sent + self._gravity(state.q)

    def sent(self, acting: Array, state: State) -> Array:
        """The effort (nu,) to send at a state for one to act."""
        return acting - self._gravity(state.q)

    def _gravity(self, q: Array) -> Array | float:
        """The effort (nu,) that the driver adds at q."""
        if self._dynamics is None:
            return 0.0
        own = self._dynamics.bias(q, self._rest)
        if self._load is None:
            return own
        return np.asarray(own + self._dynamics.attached_regressor(q, self._rest, self._rest) @ self._load)
