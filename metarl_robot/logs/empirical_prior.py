# SPDX-License-Identifier: Apache-2.0
"""The prior of the context, and the noise, that make recordings most likely (empirical Bayes, marginal likelihood).

Each recording t is one task with its own context z_t ~ N(m, P). Means over cells (cells.py) are

    Δ_c = Φ_c z_t + r_c,   r_cj ~ N(0, σ_j²),   with 1 / κ_j as many independent cells as there are

κ_j = (1 + ρ_j) / (1 - ρ_j) follows from the correlation ρ_j of neighbouring residuals. Expectation maximisation
(Dempster, Laird, Rubin 1977) alternates between the posteriors N(μ_t, S_t) and

    m = (ν m_0 + Σ μ_t) / (ν + T)
    P = (ν P_0 + ν (m - m_0)(m - m_0)ᵀ + Σ [S_t + (μ_t - m)(μ_t - m)ᵀ]) / (ν + T)

so that the prior N(m_0, P_0) of simulated tasks counts as ν recordings. Entries that can be removed, a payload's, keep
their prior: past payloads say nothing about the next one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.filter_tuning import Prior

Array = NDArray[np.float64]

STEPS = 12
"""Steps of expectation maximisation."""
FIRST_NOISE, LEAST_NOISE = 0.01, 5e-4
"""First and least σ_j, as shares of the effort limit."""
MOST_CORRELATED = 200.0
"""Most cells that count as one."""
_JITTER = 1e-9


@dataclass(frozen=True, eq=False)
class Task:
    """A recording. phi: (C, n, k) mean Φ of its cells. force: (C, n) mean Δ. counted: (C, n) whether a joint counts."""

    phi: Array
    force: Array
    counted: NDArray[np.bool_]


class Learned(NamedTuple):
    """prior: of the context. noise: (n,) σ. correlated: (n,) κ. slow: (n,) standard deviation of the part of the
    residual that lasts for half a second."""

    prior: Prior
    noise: Array
    correlated: Array
    slow: Array


class _Sums(NamedTuple):
    """gram: (n, k, k), moment: (n, k), power: (n,) of the cells that count for each joint."""

    gram: Array
    moment: Array
    power: Array


class _Posterior(NamedTuple):
    mean: Array
    covariance: Array


def sums_of(task: Task) -> _Sums:
    """What the likelihood of a task depends on."""
    weighted = task.phi * task.counted[:, :, None]
    return _Sums(
        np.einsum("cji,cjk->jik", weighted, task.phi, optimize=True),
        np.einsum("cji,cj->ji", weighted, task.force),
        (task.counted * task.force**2).sum(axis=0),
    )


class EmpiricalBayes:
    """Fits priors to tasks.

    Arguments:
        base: the prior of simulated tasks.
        kept: (k,) entries that keep it.
        unit: (n,) effort limits.
    """

    def __init__(self, tasks: Sequence[Task], base: Prior, kept: NDArray[np.bool_], unit: Array) -> None:
        self._tasks, self._base, self._kept, self._unit = tasks, base, kept, unit
        self._sums = [sums_of(task) for task in tasks]

    def fit(self, chosen: Sequence[int], weight: float) -> Learned:
        """The prior and the noise of some of the tasks.

        weight: recordings as many as which the simulated tasks count; infinite: only the noise is fitted.
        """
        prior, correlated = self._base, np.full(len(self._unit), 3.0)
        noise, slow = FIRST_NOISE * self._unit, np.zeros(len(self._unit))
        for _ in range(STEPS):
            posteriors = [self._posterior(t, prior, noise, correlated) for t in chosen]
            noise, correlated, slow = self._residuals(chosen, posteriors)
            if np.isfinite(weight):
                prior = self._maximised(posteriors, weight)
        return Learned(prior, noise, correlated, slow)

    def evidence(self, t: int, prior: Prior, levels: Learned) -> float:
        """Log marginal likelihood of a task under a prior, but for a constant.

        levels: with this noise; priors are compared under the same, because κ scales the likelihood.
        """
        sums, (_, noise, correlated, _) = self._sums[t], levels
        mean, covariance = self._posterior(t, prior, noise, correlated)
        precision = 1.0 / noise**2 / correlated
        left = sums.power - 2.0 * sums.moment @ mean + np.einsum("i,jik,k->j", mean, sums.gram, mean)
        away = mean - prior.mean
        by_width = np.linalg.slogdet(covariance)[1] - np.linalg.slogdet(prior.covariance)[1]
        by_distance = away @ np.linalg.solve(prior.covariance, away)
        return float(0.5 * (by_width - precision @ np.maximum(left, 0.0) - by_distance))

    def _posterior(self, t: int, prior: Prior, noise: Array, correlated: Array) -> _Posterior:
        sums, weight = self._sums[t], 1.0 / noise**2 / correlated
        inverse = np.linalg.inv(prior.covariance)
        precision = np.tensordot(weight, sums.gram, axes=1) + inverse
        covariance = np.asarray(np.linalg.inv(0.5 * (precision + precision.T)))
        return _Posterior(np.asarray(covariance @ (weight @ sums.moment + inverse @ prior.mean)), covariance)

    def _residuals(self, chosen: Sequence[int], posteriors: Sequence[_Posterior]) -> tuple[Array, Array, Array]:
        """σ, κ and the slow part (n,) of what the posteriors leave."""
        square, neighbours, apart, counts = (np.zeros((3, len(self._unit))) for _ in range(4))
        for t, posterior in zip(chosen, posteriors, strict=True):
            task = self._tasks[t]
            left = np.where(task.counted, task.force - task.phi @ posterior.mean, 0.0)
            spread = np.einsum("cji,ik,cjk->cj", task.phi, posterior.covariance, task.phi, optimize=True)
            square[0] += (left**2 + spread * task.counted).sum(axis=0)
            counts[0] += task.counted.sum(axis=0)
            for row, lag in ((1, 1), (2, SLOW_CELLS)):
                both = task.counted[lag:] & task.counted[:-lag]
                neighbours[row] += (left[lag:] * left[:-lag]).sum(axis=0)
                apart[row] += 0.5 * (both * (left[lag:] ** 2 + left[:-lag] ** 2)).sum(axis=0)
        noise = np.sqrt(square[0] / np.maximum(counts[0], 1.0))
        rho = np.clip(neighbours[1] / np.maximum(apart[1], 1e-12), 0.0, 0.99)
        lasting = np.clip(neighbours[2] / np.maximum(apart[2], 1e-12), 0.0, 1.0)
        seen = counts[0] > 0.0
        noise = np.where(seen, np.maximum(noise, LEAST_NOISE * self._unit), FIRST_NOISE * self._unit)
        return noise, np.clip((1.0 + rho) / (1.0 - rho), 1.0, MOST_CORRELATED), noise * np.sqrt(lasting)

    def _maximised(self, posteriors: Sequence[_Posterior], weight: float) -> Prior:
        """The prior that makes these contexts most likely, beside the simulated tasks."""
        base, free = self._base, ~self._kept
        means = np.stack([each.mean for each in posteriors])
        mean = (weight * base.mean + means.sum(axis=0)) / (weight + len(means))
        mean = np.where(self._kept, base.mean, mean)
        shift, away = mean - base.mean, means - mean
        spread = sum((each.covariance for each in posteriors), np.zeros_like(base.covariance)) + away.T @ away
        covariance = (weight * (base.covariance + np.outer(shift, shift)) + spread) / (weight + len(means))
        return Prior(mean, _with_kept(base.covariance, covariance[np.ix_(free, free)], free))


SLOW_CELLS = 10
"""Cells in half a second."""


def _with_kept(base: Array, covariance: Array, free: NDArray[np.bool_]) -> Array:
    """Covariance (k, k) with this block of the free entries; the others given these are as in `base`."""
    if free.all():
        return covariance
    cross = base[np.ix_(~free, free)]
    slope = np.linalg.solve(base[np.ix_(free, free)], cross.T).T
    made = base.copy()
    made[np.ix_(free, free)] = covariance
    made[np.ix_(~free, free)] = slope @ covariance
    made[np.ix_(free, ~free)] = made[np.ix_(~free, free)].T
    made[np.ix_(~free, ~free)] = base[np.ix_(~free, ~free)] + slope @ covariance @ slope.T - slope @ cross.T
    return made + _JITTER * np.diag(np.diagonal(made))
