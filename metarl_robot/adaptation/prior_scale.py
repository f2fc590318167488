# SPDX-License-Identifier: Apache-2.0
"""A Gaussian prior that widens where estimates leave it, so that the filter need not restart repeatedly.

The scale of a prior that is too narrow for this robot (much larger friction, for example) is estimated with the context
(empirical Bayes). An entry with the prior N(m, σ²) and an estimate more than L σ from m gets the prior N(m, σ'²), as if
it had been used from the start. In information form this subtracts 1/σ² - 1/σ'² and its share of the mean, which is a
scalar correction with a measurement m of the negative variance -R:

    R = σ² σ'² / (σ'² - σ²)    P ← P + p pᵀ / (R - P_ii)    x ← x + p (x_i - m) / (R - P_ii)    p = P e_i

R > σ² ≥ P_ii, so that the result is positive definite. Correlations of the prior with other entries keep their size.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.filter_algebra import Belief

Array = NDArray[np.float64]

HEAVY_TAILED, OTHERS = (2.0, 100.0), (8.0, 4.0)
"""(L, widest prior in its own standard deviations) of heavy-tailed entries and of all others."""
DOUBLED_S = 0.1
"""A prior at most doubles in this time, so that friction does not explain a contact."""


class PriorScale:
    """Present width of the prior of the context.

    covariance: (k, k) the prior as widened. widenings: number of times that an entry was widened.

    Arguments:
        mean, covariance: (k,), (k, k) of the prior.
        heavy_tailed: (k,) whether an entry's prior is often too narrow.
        start: index of the context in a belief.
    """

    def __init__(self, mean: Array, covariance: Array, heavy_tailed: NDArray[np.bool_], start: int) -> None:
        self._mean, self._first, self._start = mean, covariance, start
        self._first_std = np.sqrt(np.diagonal(covariance)) + 1e-12
        self._sigmas, widest = np.where(heavy_tailed, *(np.array(pair)[:, None] for pair in (HEAVY_TAILED, OTHERS)))
        self._most = widest * self._first_std
        self.widenings = 0
        self._set(self._first_std.copy())

    def _set(self, std: Array) -> None:
        scale = std / self._first_std
        self._std, self.covariance = std, self._first * scale * scale[:, None]
        self._limit = np.where(std < self._most, self._sigmas * std, np.inf)

    def _away(self, mean: Array) -> Array:
        return np.abs(mean[self._start : self._start + len(self._mean)] - self._mean)

    def fits(self, mean: Array) -> bool:
        """Whether a state's mean (m,) is finite, and its context is within the prior or the prior is at its widest."""
        finite = np.count_nonzero(np.isfinite(mean)) == len(mean)
        return finite and np.count_nonzero(self._away(mean) <= self._limit) == len(self._mean)

    def diverged(self, mean: Array) -> bool:
        """Whether a state's mean (m,) is not finite, or beyond the widest prior."""
        return not np.isfinite(mean).all() or bool(np.any(self._away(mean) > OTHERS[0] * self._most))

    def widen(self, beliefs: Sequence[Belief], dt: float) -> None:
        """Widen, in all beliefs, the priors that the first belief has left."""
        fastest = 2.0 ** (dt / DOUBLED_S)
        away, std = self._away(beliefs[0].mean), self._std.copy()
        for entry in np.flatnonzero(away > self._limit).tolist():
            goal = min(away[entry] / self._sigmas[entry], self._most[entry], fastest * std[entry])
            for belief in beliefs:
                self._widen(belief, entry, std[entry] ** 2, goal**2)
            std[entry] = goal
            self.widenings += 1
        self._set(std)

    def _widen(self, belief: Belief, entry: int, old: float, new: float) -> None:
        place = self._start + entry
        column = belief.covariance[place].copy()
        left = max(old * new / (new - old) - column[place], 0.05 * old)
        belief.mean += column * ((belief.mean[place] - self._mean[entry]) / left)
        belief.covariance += np.outer(column / left, column)
