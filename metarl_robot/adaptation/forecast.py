# SPDX-License-Identifier: Apache-2.0
"""What the nominal model will miss over the next half second: several models, weighted by their past predictions.

Control needs the force that acts now. A momentum filter therefore follows a disturbance within hundredths of a second,
and what follows so fast leaves the context noisy: half a second ahead, its estimate predicts worse than a regression on
all data. Which model predicts best depends on the machine, the motion and the time since the start. So they compete
for each joint, with the errors e that each of them made in the cells (stream_cells.py) up to half a second after it was
known:

    ln w_k = ln p_k - 1/c Σ ln e_k + const., over the latest cells in which the joint moved, c of which count as one

(Bayesian model averaging with a noise level of each cell that is not known). The sum of logarithms, unlike the
logarithm of the sum of squares, forgives a model that needed a second of data before it predicted well. Models:

    the mean of the competing regressions, and each of them alone     cell_regression.py
    the filter's context; with its slow disturbance
    nothing, and the latest cell's force
    the mean force of the latest cells, and the mean of the regressions with their mean error there, over HELD_S

The last line is for flying robots: wind does not depend on the direction of motion, as friction in a joint does.
The error is defined in prediction_error.py.
"""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.cell_regression import CellRegression
from metarl_robot.adaptation.features import FeatureMap, Xi
from metarl_robot.adaptation.prediction_error import EFFORT_ERROR, PredictionError
from metarl_robot.adaptation.stream_cells import Cell

Array = NDArray[np.float64]

AHEAD = 10
"""Cells ahead, up to which predictions are compared."""
CORRELATED = 3.0
"""Cells that count as one."""
SCORE_S = 8.0
"""Memory of the errors."""
LEAST_ERROR = 5e-4
"""Smaller errors count as equal; as a share of the effort limit."""
HELD_S = (0.15, 0.5, 2.0)
"""Time constants of means."""
MEAN, ALONE, OTHER = 0.0, -3.0, -6.0
"""ln p of the mean of the regressions, of one of them or a mean over HELD_S, and of any other model."""


class Forecast:
    """Models of Δ = Φ z + o, with context z (m,) and an offset o (n,) of each joint.

    Arguments:
        features: Φ.
        regressed: places in z of the regression's entries (its offsets not included).
        own: number of further models.
        regression: the regression, which `learn` is told of after it has taken in the cell.
        unit: (n,) effort limit, or largest generalised force.
        cell_s: length of a cell.
        error: the error that counts.
        held_s: time constants of means of the force; none: no such models.
    """

    def __init__(
        self,
        features: FeatureMap,
        regressed: NDArray[np.intp],
        own: int,
        regression: CellRegression,
        unit: Array,
        cell_s: float,
        error: PredictionError = EFFORT_ERROR,
        held_s: tuple[float, ...] = (),
    ) -> None:
        self._features, self._regressed, self._regression, self._error = features, regressed, regression, error
        self._n, self._keep, self._unit = len(unit), float(np.exp(-cell_s / SCORE_S)), unit
        alone = len(regression.means)
        self._by_gain = np.array([features.effort_gain(entry) for entry in np.eye(features.size)])  # (m, nu)
        self._by_attached = np.array([features.attached(entry) for entry in np.eye(features.size)])  # (m, k)
        self._kept = np.exp(-cell_s / np.array(held_s))[:, None]
        self._first = np.array([MEAN, *[ALONE] * alone, *[OTHER] * (own + 2), *[ALONE] * 2 * len(held_s)])
        self.reset(np.zeros((own, features.size + self._n)))

    def reset(self, own: Array) -> None:
        """Forget all errors. own: see `learn`."""
        self._scores = np.zeros((len(self._first), self._n))
        self._past: deque[Array] = deque(maxlen=AHEAD)
        self._held, self._begun = np.zeros((2, len(self._kept), self._n)), np.zeros_like(self._kept)
        self._remember(own, np.zeros(self._n))

    def learn(self, cell: Cell, own: Array) -> None:
        """Take in a cell with Φ as regressor. own: (own, m + n) the further models now."""
        past = np.stack(self._past)  # (A, K, m + n)
        z, offset = past[:, :, : self._features.size], past[:, :, self._features.size :]
        raw = z @ cell.regressor.T + offset - cell.force
        errors = self._error(raw, cell.q, z @ self._by_gain, z @ self._by_attached) / self._unit
        log_error = 0.5 * np.log((errors**2).mean(axis=0) + LEAST_ERROR**2)
        self._scores = self._keep * self._scores + log_error * cell.moving
        if len(self._kept):
            self._hold(cell, z[0, 0], offset[0, 0])
        self._remember(own, cell.force)

    def _hold(self, cell: Cell, z: Array, offset: Array) -> None:
        """Take the force, and the error of the regressions' mean (z, offset), into the means over held_s."""
        self._begun = 1.0 + self._kept * self._begun
        latest = np.stack([cell.force, cell.force - cell.regressor @ z - offset])
        self._held += np.where(cell.moving, (latest[:, None] - self._held) / self._begun, 0.0)

    def _remember(self, own: Array, force: Array) -> None:
        size, n, several = self._features.size, self._n, self._regression
        models = np.zeros((len(self._first), size + n))
        regressed, count = np.append(self._regressed, size + np.arange(n)), 1 + len(several.means)
        models[0, regressed] = several.mean
        models[1:count, regressed] = several.means
        first = count + len(own)
        models[count:first] = own
        models[first + 1, size:] = force
        models[first + 2 + len(self._kept) :] = models[0]
        models[first + 2 :, size:] += self._held.reshape(-1, n)
        self._models = models
        self._past.appendleft(models)
        self._weigh()

    def _weigh(self) -> None:
        """Weights (K, n) of the models, and their mean (n, m + n) for each joint."""
        likely = self._first[:, None] - self._scores / CORRELATED
        weights = np.exp(likely - likely.max(axis=0))
        self.weights: Array = weights / weights.sum(axis=0)
        self._mean = self.weights.T @ self._models

    def value(self, xi: Xi) -> Array:
        """Δ (N, n) [Nm]."""
        size = self._features.size
        by_context = np.einsum("knm,nm->kn", self._features.design(xi), self._mean[:, :size])
        return np.asarray(by_context + np.diagonal(self._mean[:, size:]))

    def effort_gain(self) -> Array:
        """ε (nu,): motor strength beyond 1, by the mean of the models."""
        gains = self._mean[:, : self._features.size] @ self._by_gain  # (n, nu)
        return np.diagonal(gains).copy() if gains.shape[0] == gains.shape[1] else gains.mean(axis=0)

    def attached_body(self) -> Array:
        """Attached body (k,), by the mean of the models."""
        return np.asarray(self._mean[:, : self._features.size].mean(axis=0) @ self._by_attached)
