# SPDX-License-Identifier: Apache-2.0
"""The core of the bridge to Betaflight: states and rotor thrusts in, RC channels out, acting thrusts back."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.signals import State
from metarl_robot.robots.quadrotor.betaflight.msp_link import MspLink
from metarl_robot.robots.quadrotor.betaflight.pilot import Phase, Pilot
from metarl_robot.robots.quadrotor.description import Quadrotor
from metarl_robot.robots.quadrotor.rate_loop import RateLoop

Array = NDArray[np.float64]

RATE_LOOP_S = 0.03
"""Time constant of Betaflight's rate loop with the gains of models/x500/betaflight.txt."""


class BetaflightBridge:
    """Call `update` for each state, then `command` for the controller's answer.

    Arguments:
        robot: the quadrotor. link: to its flight controller, open.
        rate_loop_s: time constant of the flight controller's rate loop.

    Attributes:
        pilot: arming, status, disarmings.

    Raises:
        LinkError, SettingsError: see Pilot.
    """

    def __init__(self, robot: Quadrotor, link: MspLink, rate_loop_s: float = RATE_LOOP_S) -> None:
        self._robot, self._rate_loop_s = robot, rate_loop_s
        self.pilot = Pilot(robot, link)
        self._loop, self._flew = RateLoop(robot, rate_loop_s), False

    @property
    def acting(self) -> Array | None:
        """Thrusts (4,) [N] of the motors, as the flight controller last reported them in flight; None before."""
        return self.pilot.thrusts if self.pilot.phase is Phase.FLYING else None

    def update(self, time_s: float, stamp_s: float, state: State) -> None:
        """Take what the flight controller answered since the last call; call it for each state.

        Arguments:
            time_s: now, monotonic. stamp_s: of the state.

        Raises:
            LinkError: the link is lost.
        """
        self.pilot.update(time_s)
        if self.acting is not None:
            self._loop.acted(stamp_s, state.v[3:], self.acting)
        elif self._flew:
            self._loop = RateLoop(self._robot, self._rate_loop_s)
        self._flew = self.acting is not None

    def command(self, state: State, thrusts: Array) -> None:
        """Send the command for rotor thrusts (4,) [N] that answer a state. Raises LinkError: the link is lost."""
        self.pilot.fly(self._loop.command(state.v[3:], thrusts))
