# SPDX-License-Identifier: Apache-2.0
"""Simple predictors of the force that the nominal model misses, beside which adapters have to prove themselves.

    nominal              Δ = 0
    hold                 the mean over the latest cell goes on
    least_squares        recursive, with forgetting, for payload and friction: Δ = Φ z
    ridge                all data so far, for payload, friction, motor strength and an offset of each joint;
                         strength as a share of the effort that the motion needs, so that errors are efforts:
                         min Σ |Φ z - Δ|² + λ |z|², with that λ that has predicted the next cells of the log best so far

They learn from cells (cells.py). The latest one reaches 20 ms beyond the present, which is in their favour.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

FORGETTING_S = 20.0
"""Time constant of recursive least squares."""
PRIOR_STD = 10.0
"""Initial standard deviation of its parameters, in kg, kg m, kg m², Nm, Nms."""
MEASUREMENT_SHARE = 0.01
"""Standard deviation of a cell's force over the effort limit: the weight of a joint."""
PENALTIES = (1e-3, 1e-1, 1e1, 1e3)
"""Values of λ, with forces in units of MEASUREMENT_SHARE of the limit."""


class Estimated(NamedTuple):
    """Parameters (k,) with standard deviations (k,)."""

    mean: Array
    std: Array


class Rival(Protocol):
    """A predictor that learns cell by cell."""

    def learn(self, regressor: Array, force: Array) -> None:
        """Take in the mean Φ (n, k) and Δ (n,) of a cell."""
        ...

    def predict(self, regressors: Array) -> Array:
        """Δ (C, n) in cells with these mean Φ (C, n, k)."""
        ...

    @property
    def context(self) -> Array:
        """Coefficients (k,) of Φ with which it predicted last."""
        ...


class Nominal:
    """Δ = 0. k: columns of Φ."""

    def __init__(self, k: int) -> None:
        self.context = np.zeros(k)

    def learn(self, regressor: Array, force: Array) -> None:
        pass

    def predict(self, regressors: Array) -> Array:
        return np.zeros(regressors.shape[:2])


class Hold:
    """The latest force goes on. k: columns of Φ."""

    def __init__(self, n: int, k: int) -> None:
        self._force, self.context = np.zeros(n), np.zeros(k)

    def learn(self, regressor: Array, force: Array) -> None:
        self._force = force

    def predict(self, regressors: Array) -> Array:
        return np.tile(self._force, (len(regressors), 1))


class LeastSquares:
    """Recursive least squares on the first k columns of Φ. unit: (n,) standard deviation of a force."""

    def __init__(self, k: int, unit: Array, cell_s: float) -> None:
        self._k, self._unit, self._kept = k, unit, float(np.exp(-cell_s / FORGETTING_S))
        self._mean, self._covariance = np.zeros(k), PRIOR_STD**2 * np.eye(k)

    def learn(self, regressor: Array, force: Array) -> None:
        phi, y = regressor[:, : self._k] / self._unit[:, None], force / self._unit
        before = self._covariance / self._kept
        gain = before @ phi.T @ np.linalg.inv(phi @ before @ phi.T + np.eye(len(y)))
        self._mean = self._mean + gain @ (y - phi @ self._mean)
        after = before - gain @ phi @ before
        limit = PRIOR_STD**2 / np.maximum(np.diagonal(after), PRIOR_STD**2)  # without excitation nothing is forgotten
        self._covariance = 0.5 * np.sqrt(limit)[:, None] * (after + after.T) * np.sqrt(limit)

    def predict(self, regressors: Array) -> Array:
        return np.asarray(regressors[:, :, : self._k] @ self._mean)

    @property
    def context(self) -> Array:
        return self._mean

    @property
    def estimate(self) -> Estimated:
        return Estimated(self._mean.copy(), np.sqrt(np.diagonal(self._covariance)))


class Ridge:
    """Batch ridge regression on Φ and an offset of each joint, solved anew for each prediction."""

    def __init__(self, k: int, unit: Array) -> None:
        self._unit, self._offset = unit, np.eye(len(unit))
        size = k + len(unit)
        self._gram, self._moment = np.zeros((size, size)), np.zeros(size)
        self._missed = np.zeros(len(PENALTIES))
        self._solutions: Array | None = None
        self.context = np.zeros(k)

    def learn(self, regressor: Array, force: Array) -> None:
        phi, y = self._with_offset(regressor[None])[0] / self._unit[:, None], force / self._unit
        if self._solutions is not None:
            self._missed += ((self._solutions @ phi.T - y) ** 2).sum(axis=1)
        self._gram += phi.T @ phi
        self._moment += phi.T @ y

    def predict(self, regressors: Array) -> Array:
        identity = np.eye(len(self._moment))
        self._solutions = np.stack([np.linalg.solve(self._gram + x * identity, self._moment) for x in PENALTIES])
        best = self._solutions[np.argmin(self._missed)]
        self.context = best[: len(self.context)]
        return np.asarray(self._with_offset(regressors) @ best)

    def _with_offset(self, regressors: Array) -> Array:
        return np.concatenate([regressors, np.tile(self._offset, (len(regressors), 1, 1))], axis=2)
