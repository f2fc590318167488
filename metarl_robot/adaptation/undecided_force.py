# SPDX-License-Identifier: Apache-2.0
"""How much of a new force control compensates before it is known whether it is a contact.

An observer that compensates the force of an obstacle pushes against it, until the contact is recognised. Two forces are
therefore compensated only up to a bound, which begins at BEGINS units and grows by a factor e within

    IMPACT_S     a detected change with a force against the motion of a robot of moderate speed: an obstacle never
                 drives a robot
    LIGHT_S      a force that builds up, without a detected change, on a slow robot, while it is slow: model errors
                 hardly change there, and a payload that is picked up acts at once
    BODY_S       the same, where an attached body explains most of the force

Any other force is compensated in full: it is a payload or a model error more often than an obstacle.
"""

from __future__ import annotations

from collections.abc import Callable
from math import exp, sqrt

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.signals import State

Array = NDArray[np.float64]

BEGINS = 15.0
"""First bound, in the units of the force."""
IMPACT_S, LIGHT_S, BODY_S = 0.04, 4.0, 0.1
"""Times in which the bound grows by a factor e."""
BY_BODY = 0.4
"""Largest share of a force that is not explained where a body explains most of it."""
DECIDES_S = 0.02
"""The first samples of a force, which decide how its bound grows."""
ENDS_SHARE, ENDS_S = 0.7, 0.1
"""Below this share of the bound, the bound decreases by a factor e within ENDS_S."""
STILL_SHARE, SLOW_SHARE, MODERATE_SHARE = 0.01, 0.02, 0.12
"""Largest velocities of a robot without a direction of motion, of a slow one and of one of moderate speed.

Shares of the limits. With 0.05 for a slow robot, and a bound that remained when it moved on, errors of friction were
bounded, too: a start from rest was 0.3 mm off instead of 0.05 mm.
"""
AGAINST = -0.5
"""Largest cosine between force and velocity of a force against the motion."""
BEFORE_S = 0.02
"""Time constant of the velocity before the force."""


class UndecidedForce:
    """Bound of the compensated force.

    Arguments:
        velocity_limit: (n,) [rad/s].
    """

    def __init__(self, velocity_limit: Array) -> None:
        self._velocity_limit, self._before = velocity_limit, np.zeros(len(velocity_limit))
        self.end()

    def end(self) -> None:
        """No new force acts."""
        self._bound, self._grows_s, self._size, self._age_s = BEGINS, 0.0, 0.0, 0.0

    @property
    def bounded(self) -> bool:
        """Whether a force acts that is not compensated in full."""
        return self._grows_s > 0.0 and self._size > self._bound

    def withheld(
        self, force: Array, unit: Array, tested: bool, unlike_body: Callable[[], Array], state: State, dt: float
    ) -> Array:
        """Process a new force (n,) [Nm], judged in units (n,). Returns the part (n,) not to be compensated.

        tested: whether hypotheses about a detected change are under test. unlike_body: gives the part (n,) of the
        force that no attached body explains [Nm].
        """
        self._size = _norm(force / unit)
        self._before = self._before + (1.0 - exp(-dt / BEFORE_S)) * (state.v - self._before)
        if self._size > BEGINS:
            self._age_s += dt
        else:
            self._age_s, self._grows_s = 0.0, 0.0
        if 0.0 < self._age_s <= DECIDES_S:
            self._decide(force, tested, self._speed())
        elif self._grows_s == LIGHT_S and self._speed() > SLOW_SHARE:
            self._grows_s = 0.0
        if self.bounded:
            self._bound *= exp(dt / self._growth(unit, unlike_body))
        elif self._size < ENDS_SHARE * self._bound:
            self._bound = max(BEGINS, self._bound * exp(-dt / ENDS_S))
        return force * (1.0 - self._bound / self._size) if self.bounded else np.zeros(len(force))

    def _decide(self, force: Array, tested: bool, speed: float) -> None:
        if tested and STILL_SHARE < speed < MODERATE_SHARE and self._is_against(force):
            self._grows_s = IMPACT_S
        elif self._grows_s != IMPACT_S:
            self._grows_s = LIGHT_S if speed < SLOW_SHARE and not tested else 0.0

    def _speed(self) -> float:
        """Largest velocity before the force, as a share of its limit."""
        return float((np.abs(self._before) / self._velocity_limit).max())

    def _is_against(self, force: Array) -> bool:
        """Whether the force acts against the motion before it."""
        return float(force @ self._before) <= AGAINST * _norm(force) * _norm(self._before)

    def _growth(self, unit: Array, unlike_body: Callable[[], Array]) -> float:
        """Time in which the bound grows now."""
        if self._grows_s == LIGHT_S and _norm(unlike_body() / unit) < BY_BODY * self._size:
            return BODY_S
        return self._grows_s


def _norm(vector: Array) -> float:
    return sqrt(vector.dot(vector))
