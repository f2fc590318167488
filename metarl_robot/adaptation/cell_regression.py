# SPDX-License-Identifier: Apache-2.0
"""Bayesian regression of the missing force on context, motor strength and an offset of each joint, over cells.

With Φ (n, k) of a cell, û the effort that the present model needs for its motion, and x = (z, ε, o),

    Δ = Φ z + û ε + o + r,   r_j ~ N(0, σ_j²),   x ~ N(x̄_c, P_c)

A robot without an effort for each coordinate has no ε (s = 0 columns; else n). The effort is computed,
û = (required - Φ z) / (1 + ε), not measured: noise of the measured effort, and all that the model misses, would make
motors seem too weak (refined instrumental variables; Young 2011).

Several priors c compete (Bayesian model averaging; Hoeting et al. 1999). Each has its own σ, the root mean square of
the residual of its fit. Half of the log-weight is the evidence, as the Laplace approximation gives it; the other half
are the errors with which its estimates have predicted the cells of the next half second. The evidence decides early;
the predictions count where no model is right.

A joint that may be at rest shows little: friction may have any value there.
"""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.filter_tuning import Prior
from metarl_robot.adaptation.normal_equations import normal_equations
from metarl_robot.adaptation.stream_cells import Cell

Array = NDArray[np.float64]

AHEAD = 10
"""Cells ahead, up to which predictions are compared."""
CORRELATED, MOST_CORRELATED, FIRST_CORRELATED = 3.0, 200.0, 20.0
"""Cells whose residuals count as one; most of them in standard deviations, and cells for which the least counts."""
SCORE_S, FORGETTING_S, NOISE_S = 20.0, 60.0, 3.0
"""Memory of the predictions' errors, of the cells, and of the root mean square error that a change exceeds."""
FIRST_NOISE, FIRST_CELLS, LEAST_NOISE = 5e-3, 2.0, 5e-4
"""First σ_j, cells for which it counts, and least σ_j; as shares of the effort limit."""
AT_REST, AT_REST_CELLS = 0.02, 20.0
"""Friction of a joint at rest, as a share of the effort limit; its error lasts for as many cells."""
LEAST_KNOWN = 0.04
"""Standard deviations are at least this share of the first prior's: links that are not quite as described look like a
payload, however long the data."""
WEAKEST = 0.1
"""Least motor strength that is believed."""
CHANGED, CHANGED_CELLS, USUAL_S = 5.0, 6, 1.0
"""The condition has changed after as many cells with as many times the usual error (root mean square over the moving
joints), which is known after USUAL_S."""


class CellRegression:
    """The regression. mean: (k + s + n,) of context, motor strength beyond 1 and offset. context_size: k.

    Arguments:
        priors: C priors of (z, ε, o).
        unit: (n,) effort limit, or largest generalised force.
        cell_s: length of a cell.
        strengths: whether there is a motor strength of each coordinate.
    """

    def __init__(self, priors: tuple[Prior, ...], unit: Array, cell_s: float, strengths: bool = True) -> None:
        self._unit, self._cell_s, self._n = unit, cell_s, len(unit)
        self._priors = np.stack([prior.mean for prior in priors])
        self._information = np.stack([np.linalg.inv(prior.covariance) for prior in priors])
        self._least_variance = np.diagonal(priors[0].covariance) * LEAST_KNOWN**2
        pull = np.einsum("cij,cj->ci", self._information, self._priors)
        self._equations = normal_equations(self._information, pull, self._n)
        self._prior_log_det = np.linalg.slogdet(self._information)[1]
        self._strengths = self._n if strengths else 0
        self.context_size = self._priors.shape[1] - self._strengths - self._n
        self.reset()

    def reset(self) -> None:
        """Return to the priors, each as likely as the others."""
        count, n = len(self._priors), self._n
        self._squares, self._counts = np.zeros((count, n)), np.zeros(n)
        self._usual, self._cells = (FIRST_NOISE * self._unit) ** 2, 0
        self._products, self._last = np.tile([[0.0], [FIRST_CORRELATED]], n), np.full(n, np.nan)
        self._correlated = np.full(n, CORRELATED)
        self._forget()

    def _forget(self) -> None:
        """Forget all cells, but not which priors have predicted well."""
        self._equations.forget()
        self._power, self._weight = np.zeros(self._n), np.zeros(self._n)
        self._noise = np.tile(FIRST_NOISE * self._unit, (len(self._priors), 1))
        self._past = np.tile(self._priors, (AHEAD, 1, 1))  # estimates, the latest first
        self._errors: deque[float] = deque(maxlen=CHANGED_CELLS)
        self._solve()

    def learn(self, cell: Cell) -> None:
        """Take in a cell."""
        rows = self._rows(cell)
        self._judge(rows, cell)
        error = cell.force - rows @ self.mean
        self._correlate(np.where(cell.moving, error, np.nan) / self.noise)
        if self._changed(error, cell.moving):
            self._forget()
        self._add(rows, cell)
        self._solve()

    def _rows(self, cell: Cell) -> Array:
        """[Φ, û, 1] (n, k + s + n)."""
        k, n = self.context_size, self._n
        if not self._strengths:
            return np.hstack([cell.regressor, np.eye(n)])
        strength = np.maximum(1.0 + self.mean[k : k + n], WEAKEST)
        needed = (cell.required - cell.regressor @ self.mean[:k]) / strength
        return np.hstack([cell.regressor, np.diag(needed), np.eye(n)])

    def _judge(self, rows: Array, cell: Cell) -> None:
        """Errors of the priors' predictions from up to AHEAD cells ago."""
        errors = (cell.force - self._past @ rows.T) / self._unit  # (AHEAD, C, n)
        keep = np.exp(-self._cell_s / SCORE_S)
        self._squares = keep * self._squares + (errors**2).mean(axis=0) * cell.moving
        self._counts = keep * self._counts + cell.moving

    def _correlate(self, error: Array) -> None:
        """Take in the errors (n,) of a cell, in σ, for their correlation ρ: standard deviations are those of
        (1 + ρ) / (1 - ρ) times as few cells. A model that is still wrong has correlated errors; its estimates are not
        slowed down by them."""
        both = np.isfinite(error) & np.isfinite(self._last)
        pair = np.where(both, np.stack([error * self._last, 0.5 * (error**2 + self._last**2)]), 0.0)
        self._products = np.exp(-self._cell_s / SCORE_S) * self._products + pair
        rho = np.clip(self._products[0] / self._products[1], 0.0, 0.99)
        self._correlated = np.clip(CORRELATED * (1.0 + rho) / (1.0 - rho), CORRELATED, MOST_CORRELATED)
        self._last = error

    def _changed(self, error: Array, moving: NDArray[np.bool_]) -> bool:
        """Whether the latest cells are unlike those before. error: (n,) of the prediction of this cell."""
        self._cells += 1
        share = max(1.0 - np.exp(-self._cell_s / NOISE_S), 1.0 / (self._cells + FIRST_CELLS))
        least = (LEAST_NOISE * self._unit) ** 2
        if moving.any() and self._cells * self._cell_s > USUAL_S:
            self._errors.append(float(np.mean((error**2 / np.maximum(self._usual, least))[moving])))
        squares = np.minimum(error**2, 9.0 * np.maximum(self._usual, least))
        self._usual = self._usual + share * moving * (squares - self._usual)
        return len(self._errors) == CHANGED_CELLS and min(self._errors) > CHANGED**2

    def _add(self, rows: Array, cell: Cell) -> None:
        keep, noise = np.exp(-self._cell_s / FORGETTING_S), self.noise
        at_rest = noise**2 / (noise**2 + (AT_REST * self._unit) ** 2) / AT_REST_CELLS
        weight = np.where(cell.moving, 1.0, at_rest)
        self._equations.add(rows, cell.force, weight, keep)
        self._power = keep * self._power + weight * cell.force**2
        self._weight = keep * self._weight + weight

    def _solve(self) -> None:
        """Estimates of all priors, their noise levels and weights, and the mean of all."""
        means, log_det, fitted = self._equations.solve(1.0 / self._noise**2 / CORRELATED)
        self.means = means.copy()
        self._noise = self._residual(fitted)
        likely = 0.5 * self._evidence(log_det) + 0.5 * self._foresight()
        self._shares = np.exp(likely - likely.max())
        self._shares /= self._shares.sum()
        self.mean: Array = self._shares @ self.means
        self._past[1:] = self._past[:-1]
        self._past[0] = self.means

    def _residual(self, fitted: Array) -> Array:
        """σ (C, n) of each prior's fit. fitted: weighted sums (C, n) of the squares of Φ x."""
        left = np.maximum(self._power - 2.0 * self.means @ self._equations.moment.T + fitted, 0.0)
        first = FIRST_CELLS * (FIRST_NOISE * self._unit) ** 2
        return np.maximum(np.sqrt((left + first) / (self._weight + FIRST_CELLS)), LEAST_NOISE * self._unit)

    def _evidence(self, log_det: Array) -> Array:
        """Log-evidence (C,) of the priors, but for a constant. log_det: (C,) of the precisions."""
        away = self.means - self._priors
        by_residual = np.log(self._noise / self._unit) @ self._weight / CORRELATED
        by_width = 0.5 * (log_det - self._prior_log_det)
        by_distance = 0.5 * ((self._information @ away[:, :, None])[:, :, 0] * away).sum(axis=1)
        return np.asarray(-by_residual - by_width - by_distance)

    def _foresight(self) -> Array:
        """Log-likelihood (C,) of the predictions, with an unknown noise level of each joint."""
        mean_squares = (self._squares + LEAST_NOISE**2) / (self._counts + 1.0)
        return np.asarray(-0.5 * np.log(mean_squares) @ self._counts / CORRELATED)

    @property
    def noise(self) -> Array:
        """σ (n,) [Nm]."""
        return np.asarray(np.sqrt(self._shares @ self._noise**2))

    @property
    def std(self) -> Array:
        """Standard deviation (k + s + n,): within the likeliest prior, of correlated errors, and between priors."""
        likeliest = int(np.argmax(self._shares))
        weight = 1.0 / self._noise[likeliest] ** 2 / self._correlated
        gram = self._equations.gram
        precision = (weight @ gram.reshape(self._n, -1)).reshape(gram.shape[1:])
        precision += self._information[likeliest]
        own = np.diagonal(np.linalg.inv(precision))
        between = self._shares @ (self.means - self.mean) ** 2
        return np.asarray(np.sqrt(own + between + self._least_variance))
