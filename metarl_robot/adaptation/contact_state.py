# SPDX-License-Identifier: Apache-2.0
"""Contact state of a filter: the force beyond the last confirmed model, and whether it can be a payload.

A model is confirmed while nothing changes. A larger force beyond it is first undecided: a payload within the rating may
have been picked up or put down. This state ends in one of three ways:

- No possible payload explains the force: a contact (external_wrench.py).
- The robot has moved for MOVING_S and a payload still explains the force: the present model is confirmed.
- The force has ended: the confirmed model holds again.
"""

from __future__ import annotations

from math import exp, sqrt

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.filter_algebra import Belief
from metarl_robot.core.external_force import Contact, ExternalForce
from metarl_robot.core.signals import State

Array = NDArray[np.float64]

SMOOTH_S = 0.02
"""Time constant of the published and tested force."""
RAISED_S, GONE_S = 0.015, 0.05
"""Times above the threshold, or below GONE_SHARE of it, after which the state changes."""
GONE_SHARE = 0.7
MOVING_S = 0.9
"""After motion for this time, a force that a payload explains counts as a payload."""
MOVING_SHARE = 0.02
"""The robot moves if a joint is above this share of its velocity limit."""


class ContactState:
    """Contact state and external force of one filter.

    contact: see Contact. force: (n,) smoothed [Nm]. model: the confirmed model. quiet: no force near the threshold
    acts, and `force` is not up to date.

    Arguments:
        velocity_limit: (n,) [rad/s].
        prior: the model before anything is known.
    """

    def __init__(self, velocity_limit: Array, prior: Belief) -> None:
        self._velocity_limit = velocity_limit
        self.confirm(prior)

    @property
    def external(self) -> ExternalForce:
        return ExternalForce(self.contact, self.force)

    def confirm(self, model: Belief) -> None:
        """Confirm a model: no force acts beyond it."""
        self.contact, self.model, self.force = Contact.NONE, model, np.zeros(len(self._velocity_limit))
        self._raised_s = self._gone_s = self._moving_s = 0.0
        self.quiet = False

    def hold(self, force: Array | None, dt: float) -> None:
        """Record a contact. force: (n,) beyond the held model; None: unknown in this sample."""
        self.contact, self.quiet = Contact.CONTACT, False
        if force is not None:
            self._smooth(force, dt)

    def watch(self, force: Array, unit: Array, threshold: float, state: State, dt: float) -> bool:
        """Process the force (n,) beyond the model; the norm of the smoothed force over `unit` (n,) is tested.

        Returns whether motion has confirmed the present explanation of an undecided force.
        """
        self._smooth(force, dt)
        share = self.force / unit
        size = sqrt(share @ share)
        if self.contact is Contact.UNDECIDED:
            return self._decide(size, threshold, state, dt)
        self._raised_s = self._raised_s + dt if size >= threshold else 0.0
        if self._raised_s >= RAISED_S:
            self.contact = Contact.UNDECIDED
        return False

    def _decide(self, size: float, threshold: float, state: State, dt: float) -> bool:
        self._gone_s = self._gone_s + dt if size < GONE_SHARE * threshold else 0.0
        if self._gone_s >= GONE_S:
            self.confirm(self.model)
        elif (np.abs(state.v) > MOVING_SHARE * self._velocity_limit).any():
            self._moving_s += dt
        return self._moving_s >= MOVING_S

    def _smooth(self, force: Array, dt: float) -> None:
        self.force = self.force + (1.0 - exp(-dt / SMOOTH_S)) * (force - self.force)
