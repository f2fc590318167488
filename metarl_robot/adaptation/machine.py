# SPDX-License-Identifier: Apache-2.0
"""Is this robot like the machines of the training?

A robot may be unlike all of them: no damping or rotor inertia is felt by torque sensors on the link's side, friction is
another. Until it has moved, each hypothesis has a twin with a wide prior for such a machine; the evidence decides which
of both priors is in force.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.filter_tuning import Prior
from metarl_robot.adaptation.prior_scale import PriorScale

Array = NDArray[np.float64]

MOVES_RAD_S, KNOWN_S = 0.1, 1.0
"""Once a robot has moved faster than the first for as long, it is known whether it is like those of the training."""
UNFAMILIAR_SCALE = 2.0
"""Forces that model errors explain on an unfamiliar machine, as a multiple of those on others."""


class Machine:
    """unfamiliar: whether the machine is held to be unlike those of the training.

    Arguments:
        prior: of the context, on a machine like those of the training.
        other: on one unlike them; None: the same, there is nothing to decide.
        heavy_tailed: (k,) see PriorScale.
        start: index of the context in a belief.
    """

    def __init__(self, prior: Prior, other: Prior | None, heavy_tailed: NDArray[np.bool_], start: int) -> None:
        self.unfamiliar, self._moved_s, self._distinguished = False, 0.0, other is not None
        self._priors = (prior, prior if other is None else other)
        self._scales = [PriorScale(given.mean, given.covariance, heavy_tailed, start) for given in self._priors]

    @property
    def prior(self) -> Prior:
        """The prior in force."""
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
        """Whether it may still prove to be unlike those of the training."""
        return self._distinguished and not self.unfamiliar and self._moved_s < KNOWN_S

    @property
    def smooths_regressors(self) -> bool:
        """Whether regressors of an unfamiliar machine are, or may be, needed."""
        return self._distinguished and (self.unfamiliar or self._moved_s < KNOWN_S)

    def moves(self, v: Array, dt: float) -> None:
        """Take in a sample's velocity (n,)."""
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
        """Take over how far another filter has got with its decision."""
        self._moved_s = other._moved_s
