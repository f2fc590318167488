# SPDX-License-Identifier: Apache-2.0
"""Possible causes of a detected change, as changes of the filter's belief.

The entries of a feature group jumped; a removable object was removed; an impact moved the robot, or a sample was lost;
an earlier model returned; the machine is unlike the training machines; the nominal model is right about its friction.
Changed entries return to their prior covariance, that of the jump, or to zero; the other entries (such as motor
strength) keep their estimates.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.features import Jump
from metarl_robot.adaptation.filter_algebra import Belief
from metarl_robot.adaptation.filter_tuning import Prior

Array = NDArray[np.float64]

DISPLACED = (0.01, 0.3)
"""Standard deviation of a displacement in position [rad] and velocity [rad/s], from an impact or a lost sample."""

MODELLED = 0.3
"""Standard deviation of an entry of which the nominal model is right, as a share of the prior's. The demo's payload is
estimated within 0.04 kg with 0.1, 0.2 and 0.3; the largest leaves most room for errors of the model."""
LIMIT_NOISE = 0.01
"""Variance that a limit leaves to an entry, as a share of the entry's, so that the covariance remains regular."""


class BeliefChanges:
    """Each method returns a changed copy of a belief.

    Arguments:
        dof: n.
        prior, unfamiliar: of the context, on a machine like those of the training and on another.
        drift_initial: (n,) standard deviation of the slow disturbance after a change [Nm].
    """

    def __init__(self, dof: int, prior: Prior, unfamiliar: Prior, drift_initial: Array) -> None:
        self._n, self._prior, self._unfamiliar = dof, prior, unfamiliar
        self._context = 4 * dof
        self._drift, self._drift_variance = np.arange(2 * dof, 3 * dof), drift_initial**2

    def jumped(self, before: Belief, jump: Jump) -> Belief:
        """These entries jumped."""
        belief, entries = before.copy(), self._context + jump.entries
        prior = self._prior.covariance[np.ix_(jump.entries, jump.entries)]
        if jump.covariance is not None:
            prior = jump.covariance
        if jump.removed:
            belief.mean[entries], prior = 0.0, np.zeros_like(prior)
        self._renew(belief, entries, prior)
        return belief

    def as_modelled(self, before: Belief, entries: NDArray[np.intp]) -> Belief:
        """The nominal model is right about these entries: they are zero, within a small part of the prior."""
        belief, places = before.copy(), self._context + entries
        belief.mean[places] = 0.0
        self._renew(belief, places, MODELLED**2 * np.diag(self._prior.covariance.diagonal()[entries]))
        return belief

    def on_unfamiliar(self, before: Belief) -> Belief:
        """The same on a machine unlike the training machines."""
        belief, given = before.copy(), self._unfamiliar
        changed = np.flatnonzero(np.diagonal(given.covariance) != np.diagonal(self._prior.covariance))
        belief.mean[self._context + changed] = given.mean[changed]
        self._renew(belief, self._context + changed, given.covariance[np.ix_(changed, changed)])
        return belief

    def recalled(self, before: Belief, earlier: Belief) -> Belief:
        """An earlier model returned, with its context and disturbance."""
        belief, model = before.copy(), slice(2 * self._n, None)
        belief.mean[model] = earlier.mean[model]
        belief.covariance[model, :], belief.covariance[:, model] = 0.0, 0.0
        belief.covariance[model, model] = earlier.covariance[model, model]
        belief.covariance[self._drift, self._drift] += self._drift_variance
        return belief

    def displaced(self, before: Belief) -> Belief:
        """Only the state changed: an impact or a lost sample."""
        belief, n = before.copy(), self._n
        belief.covariance[:n, :n] += DISPLACED[0] ** 2 * np.eye(n)
        belief.covariance[n : 2 * n, n : 2 * n] += DISPLACED[1] ** 2 * np.eye(n)
        return belief

    def limited(self, belief: Belief, entry: int, value: float) -> None:
        """Give a context entry this value, in place, as a measurement does; the others follow by their correlation."""
        place = self._context + entry
        column = belief.covariance[place].copy()
        if column[place] > 0.0:
            belief.mean += column * ((value - belief.mean[place]) / column[place])
            belief.covariance -= np.outer(column, column) / ((1.0 + LIMIT_NOISE) * column[place])

    def _renew(self, belief: Belief, entries: NDArray[np.intp], covariance: Array) -> None:
        """Give entries of the state this covariance, and the slow disturbance that of a start."""
        for which, own in ((entries, covariance), (self._drift, np.diag(self._drift_variance))):
            belief.covariance[which, :] = 0.0
            belief.covariance[:, which] = 0.0
            belief.covariance[np.ix_(which, which)] = own
