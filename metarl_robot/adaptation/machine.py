# SPDX-License-Identifier: Apache-2.0
"""Decides whether a robot is like the training machines.

It may be unlike all of them: torque sensors on the link side measure neither damping nor rotor inertia, and friction
may differ. Until the robot has moved, each hypothesis has a twin with a wide prior for such a machine; the evidence
decides which prior is used.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.filter_tuning import Prior
from metarl_robot.adaptation.prior_scale import PriorScale

Array = NDArray[np.float64]

MOVES_RAD_S, KNOWN_S = 0.1, 3.0
"""The decision is final when the robot has moved faster than MOVES_RAD_S for KNOWN_S.

With 1 s, friction of another shape was not recognised: its first effects came later, and were taken for a contact.
"""
UNFAMILIAR_SCALE = 2.0
"""Forces that model errors explain on an unfamiliar machine, as a multiple of those on others."""


class Machine:
    """unfamiliar: whether the machine counts as unlike the training machines.

    Arguments:
        prior: of the context, on a machine like the training machines.
        other: on one unlike them; None: the same, nothing to decide.
        heavy_tailed: (k,) see PriorScale.
        start: index of the context in a belief.
    """

    def __init__(self, prior: Prior, other: Prior | None, heavy_tailed: NDArray[np.bool_], start: int) -> None:
        self.unfamiliar, self._moved_s, self._distinguished = False, 0.0, other is not None
        self._priors = (prior, prior if other is None else other)
        self._scales = [PriorScale(given.mean, given.covariance, heavy_tailed, start) for given in self._priors]

    @property
    def prior(self) -> Prior:
        """The prior in use."""
        return self._priors[self.unfamiliar]

    @property
    def scale(self) -> PriorScale:
        """The present width of the prior in force."""
        return self._scales[self.unfamiliar]

    @property
    def disturbance_scale(self) -> float:
        """Forces that model errors explain, as a multiple of those on machines of the training."""
        return UNFAMILIAR_SCALE if self.unfamiliar else 1.0

    @property
    def undecided(self) -> bool:
        """Whether the decision is still open."""
        return self._distinguished and not self.unfamiliar and self._moved_s < KNOWN_S

    @property
    def smooths_regressors(self) -> bool:
        """Whether regressors of an unfamiliar machine are, or may be, needed."""
        return self._distinguished and (self.unfamiliar or self._moved_s < KNOWN_S)

    def moves(self, v: Array, dt: float) -> None:
        """Process a sample's velocity (n,)."""
        if self._moved_s < KNOWN_S and np.abs(v).max() > MOVES_RAD_S:
            self._moved_s += dt

    def settle(self, unfamiliar: bool) -> bool:
        """Decide; returns whether that changes the prior in force."""
        if unfamiliar == self.unfamiliar or not self._distinguished:
            return False
        self.unfamiliar = unfamiliar
        return True

    def has_model(self, mean: Array) -> bool:
        """Whether a state's mean (m,) is a model of an unfamiliar machine."""
        return self.unfamiliar or self._distinguished and not self._scales[0].fits(mean)

    def moved_as(self, other: Machine) -> None:
        """Copy the state of another filter's decision."""
        self._moved_s = other._moved_s
