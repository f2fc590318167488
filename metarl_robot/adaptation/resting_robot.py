# SPDX-License-Identifier: Apache-2.0
"""A robot at rest, and the force that has moved it away from there.

Model errors hardly change at rest, and friction never moves a joint. A new force that has moved a resting robot is
therefore external, unless it is that of a payload, even where it is far smaller than model errors in motion. The
commanded motion is excluded by the effort τ. The controller compensates the force f, so that its tracking alone pulls
with

    p = τ - τ_0 + f

where τ_0 held the robot at rest. Tracking pulls a robot back that an external force has moved by δ: pᵀδ < 0.
"""

from __future__ import annotations

from math import exp

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.signals import State

Array = NDArray[np.float64]

SLOW_SHARE, REST_SHARE, LEFT_SHARE = 0.05, 0.03, 0.1
"""Largest velocities of a slow robot and of one that rests; beyond the third it has left: shares of the limits."""
REST_S = 0.2
"""A robot rests once it has been as slow for this time."""
LEFT_RAD = 0.05
"""It has left its place when a joint has moved this far."""
FOLLOWS_S = 0.1
"""Place and effort at rest are averaged over this time, while no new force acts."""
PULL_S = 0.02
"""Time constant of p, which contains the noise of the velocities."""
LEAST_RAD = 2e-4
"""Smaller motions may be measurement errors."""


class RestingRobot:
    """Place and effort of a robot at rest.

    slow: whether all joints are slow.

    Arguments:
        velocity_limit: (n,) [rad/s].
    """

    def __init__(self, velocity_limit: Array) -> None:
        self._velocity_limit, self.slow, self._rest_s = velocity_limit, False, 0.0
        self._place: Array | None = None
        self._effort = self._away = self._pull = np.zeros(len(velocity_limit))

    @property
    def known(self) -> bool:
        """Whether the robot rests, or has moved only a little since."""
        return self._place is not None

    def update(self, state: State, effort: Array, dt: float) -> None:
        """Process a sample. effort: (n,) the one that acted before it."""
        share = float((np.abs(state.v) / self._velocity_limit).max())
        self.slow = share < SLOW_SHARE
        self._rest_s = self._rest_s + dt if share < REST_SHARE else 0.0
        if self._place is None:
            if self._rest_s >= REST_S:
                self._place, self._effort, self._pull = state.q, effort, np.zeros(len(effort))
        elif share > LEFT_SHARE or float(np.abs(state.q - self._place).max()) > LEFT_RAD:
            self._place, self._rest_s = None, 0.0

    def undisturbed(self, state: State, effort: Array, dt: float) -> None:
        """No new force acts: a robot that still rests does so here, under this effort."""
        if self._place is not None and self._rest_s >= REST_S:
            share = 1.0 - exp(-dt / FOLLOWS_S)
            self._place = self._place + share * (state.q - self._place)
            self._effort = self._effort + share * (effort - self._effort)
            self._pull = np.zeros(len(effort))

    def disturbed(self, state: State, effort: Array, force: Array, dt: float) -> None:
        """Process a new force f (n,), which control compensates."""
        if self._place is None:
            return
        self._away = state.q - self._place
        share = 1.0 - exp(-dt / PULL_S)
        self._pull = self._pull + share * (effort - self._effort + force - self._pull)

    def driving(self, force: Array) -> Array:
        """Part (n,) of a force that has moved joints away from rest; zero if the controller has moved the robot."""
        away = self._away
        if np.max(np.abs(away)) < LEAST_RAD or force @ away <= 0.0 or self._pull @ away >= 0.0:
            return np.zeros(len(force))
        return np.where(force * away > 0.0, force, 0.0)
