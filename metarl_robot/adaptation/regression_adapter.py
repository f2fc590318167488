# SPDX-License-Identifier: Apache-2.0
"""Adapter `regression`: context from a regression over short cells, beside an observer of the remaining disturbance.

The momentum filter estimates context and disturbance from the same samples, and follows a disturbance within
hundredths of a second; what then remains for the context is noisy. Here the context comes from means over cells
(stream_cells.py, cell_regression.py) and is given to a momentum filter as known, which observes the rest. The context
follows more slowly, and predicts farther ahead.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.cell_regression import CellRegression
from metarl_robot.adaptation.features import FeatureMap, Xi
from metarl_robot.adaptation.forecast import Forecast
from metarl_robot.adaptation.momentum_filter import MomentumFilter
from metarl_robot.adaptation.stream_cells import CellSource
from metarl_robot.adaptation.wrapped import WrappedAdapter
from metarl_robot.core.signals import Context, State

Array = NDArray[np.float64]


class RegressionAdapter(WrappedAdapter[MomentumFilter]):
    """See the module. Other attributes are those of the filter.

    Control gets the regression's estimate as it is, also where no body has such inertial parameters: its entries
    predict the motion only together.

    Arguments:
        inner: a filter with `features`, whose context is that of the regression without the offsets.
        features: of context and motor strength, k + n entries.
        cells: of the same features.
        regression: of the same features.
        unit: (n,) effort limit.
    """

    def __init__(
        self,
        inner: MomentumFilter,
        features: FeatureMap,
        cells: CellSource,
        regression: CellRegression,
        unit: Array,
    ) -> None:
        self.inner, self._features, self._cells, self._regression = inner, features, cells, regression
        self._forecast = Forecast(features, np.arange(features.size), 1, regression, unit, cells.cell_s)
        self._context_only = features.size - len(unit)
        self.reset()

    def take_cells_from(self, source: Callable[[FeatureMap], CellSource]) -> None:
        """Take the cells of its features from another source, and start over."""
        self._cells = source(self._features)
        self.reset()

    def reset(self) -> None:
        self.inner.reset()
        self._cells.restart()
        self._regression.reset()
        self.inner.take_context(self._context)
        self._std: Array | None = None
        self._forecast.reset(self._own())

    def update(self, state: State, effort: Array, dt: float) -> Context:
        self.advance(state, effort, dt)
        return self.context

    def advance(self, state: State, effort: Array, dt: float) -> None:
        self.inner.advance(state, effort, dt)
        cell = self._cells.take(state, self.inner.acting_effort, dt)
        if cell is not None:
            self._regression.learn(cell._replace(regressor=cell.regressor[:, : self._context_only]))
            self._std = None
            self.inner.take_context(self._context, (state, effort))
            self._forecast.learn(cell, self._own())

    def _own(self) -> Array:
        """The regression's context with the disturbance that is observed now, for the forecast."""
        return np.concatenate([self._context, self.inner.slow_disturbance])[None]

    @property
    def context(self) -> Context:
        """The regression's estimate."""
        if self._std is None:
            self._std = self._regression.std[: self._features.size]
        return Context(self._features.names, self._context.copy(), self._std.copy())

    @property
    def _context(self) -> Array:
        return self._regression.mean[: self._features.size]

    def evaluate(self, xi: Xi) -> Array:
        share = self.inner.share
        return self._features.value(xi, share * self._context) + share * self.inner.observed

    def jacobian(self, xi: Xi) -> Array:
        return self._features.jacobian(xi, self.inner.share * self._context)

    def effort_gain(self) -> Array:
        return self._features.effort_gain(self.inner.share * self._context)

    def forecast(self, xi: Xi) -> Array:
        """Δ (N, n) over the next half second [Nm]."""
        return self._forecast.value(xi)

    def forecast_gain(self) -> Array:
        """ε (nu,) of the forecast."""
        return self._forecast.effort_gain()

    def forecast_attached(self) -> Array:
        """Attached body (k,) of the forecast."""
        return self._forecast.attached_body()
