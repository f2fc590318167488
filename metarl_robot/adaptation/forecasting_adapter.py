# SPDX-License-Identifier: Apache-2.0
"""An adapter that also forecasts (forecast.py): a regression over cells runs beside its momentum filter."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.cell_regression import CellRegression
from metarl_robot.adaptation.features import FeatureMap, Xi
from metarl_robot.adaptation.forecast import Forecast
from metarl_robot.adaptation.momentum_filter import MomentumFilter
from metarl_robot.adaptation.prediction_error import EFFORT_ERROR, PredictionError
from metarl_robot.adaptation.stream_cells import CellSource
from metarl_robot.adaptation.wrapped import WrappedAdapter
from metarl_robot.core.signals import Context, State

Array = NDArray[np.float64]

OWN = 2
"""Models of the filter: its context without and with its slow disturbance."""


class ForecastingAdapter(WrappedAdapter[MomentumFilter]):
    """The adapter `inner`, unchanged: control gets the same as without the forecast.

    Arguments:
        inner: a momentum filter, or an adapter around one with its attributes.
        features: those of the filter, then further ones.
        regressed: places of the regression's entries among them, motor strength last.
        cells: of all features.
        regression: with all entries `regressed`, and an offset of each joint.
        unit: (n,) effort limit, or largest generalised force.
        error, held_s: see Forecast.
    """

    def __init__(
        self,
        inner: MomentumFilter,
        features: FeatureMap,
        regressed: NDArray[np.intp],
        cells: CellSource,
        regression: CellRegression,
        unit: Array,
        error: PredictionError = EFFORT_ERROR,
        held_s: tuple[float, ...] = (),
    ) -> None:
        self.inner, self._features, self._cells, self._regression = inner, features, cells, regression
        self._context, self._size, self._n = regressed[: regression.context_size], features.size, len(unit)
        self._forecast = Forecast(features, regressed, OWN, regression, unit, cells.cell_s, error, held_s)
        self.reset()

    def take_cells_from(self, source: Callable[[FeatureMap], CellSource]) -> None:
        """Take the cells of its features from another source, and start over."""
        self._cells = source(self._features)
        self.reset()

    def reset(self) -> None:
        self.inner.reset()
        self._cells.restart()
        self._regression.reset()
        self._forecast.reset(self._own())

    def update(self, state: State, effort: Array, dt: float) -> Context:
        self.advance(state, effort, dt)
        return self.inner.context

    def advance(self, state: State, effort: Array, dt: float) -> None:
        self.inner.advance(state, effort, dt)
        cell = self._cells.take(state, self.inner.acting_effort, dt)
        if cell is not None:
            self._regression.learn(cell._replace(regressor=cell.regressor[:, self._context]))
            self._forecast.learn(cell, self._own())

    def _own(self) -> Array:
        """The filter's context (1, m + n), and the same with its slow disturbance."""
        made, estimated = np.zeros((OWN, self._size + self._n)), self.inner.estimated
        made[:, : len(estimated)] = estimated
        made[1, self._size :] = self.inner.slow_disturbance
        return made

    def forecast(self, xi: Xi) -> Array:
        """Δ (N, n) over the next half second [Nm]."""
        return self._forecast.value(xi)

    def forecast_gain(self) -> Array:
        """ε (nu,) of the forecast."""
        return self._forecast.effort_gain()

    def forecast_attached(self) -> Array:
        """Attached body (k,) of the forecast."""
        return self._forecast.attached_body()
