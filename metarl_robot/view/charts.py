# SPDX-License-Identifier: Apache-2.0
"""Plots over the last seconds of a run, beside the 3-D view."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
import viser
from numpy.typing import NDArray

from metarl_robot.view.moment import Moment

Array = NDArray[np.float64]

SPAN_S = 20.0
_POINTS = 400
_ASPECT = 1.8
_BLUE, _PALE, _RED = "#3c6ee6", "rgba(60, 110, 230, 0.18)", "#dc3c28"


class Chart:
    """A quantity over time with a band around it.

    title: with the unit. bounds: whether the series has a lower and an upper bound.
    """

    def __init__(self, server: viser.ViserServer, title: str, colour: str, bounds: bool) -> None:
        self._rows: deque[tuple[float, ...]] = deque(maxlen=_POINTS)
        self._columns = 4 if bounds else 2
        lines: list[Any] = [{"label": "s"}, {"label": title, "stroke": colour, "width": 1.5}]
        edges: list[Any] = [{"label": label, "stroke": _PALE, "width": 0} for label in ("- 2σ", "+ 2σ")]
        bands: Any = ({"series": (3, 2), "fill": _PALE},) if bounds else None
        blank = tuple(np.zeros(1) for _ in range(self._columns))
        self._plot = server.gui.add_uplot(
            blank,
            tuple(lines + (edges if bounds else [])),
            title=title,
            bands=bands,
            scales={"x": {"time": False}},
            legend={"show": False},
            aspect=_ASPECT,
        )

    def add(self, time_s: float, value: float, two_sigma: float = 0.0) -> None:
        """Add a sample; one from an earlier time begins a new run."""
        if self._rows and time_s < self._rows[-1][0]:
            self._rows.clear()
        self._rows.append((time_s, value, value - two_sigma, value + two_sigma)[: self._columns])
        while self._rows[0][0] < time_s - SPAN_S:
            self._rows.popleft()

    def draw(self) -> None:
        """Send the samples to the page."""
        if self._rows:
            self._plot.data = tuple(np.array(column) for column in zip(*self._rows, strict=True))


class Charts:
    """Error, duration of a step, and each estimated quantity; a chart appears with its first sample."""

    def __init__(self, server: viser.ViserServer) -> None:
        self._server = server
        self._charts: dict[str, Chart] = {}

    def add(self, moment: Moment) -> None:
        """Add a moment to the charts."""
        if moment.error_m is not None:
            self._chart("error [mm]", _RED).add(moment.time_s, 1e3 * moment.error_m)
        for name, (mean, std, unit) in moment.estimates.items():
            self._chart(f"{name} [{unit}]" if unit else name, _BLUE, bounds=True).add(moment.time_s, mean, 2.0 * std)
        if moment.step_ms is not None:
            self._chart("controller step [ms]", _BLUE).add(moment.time_s, moment.step_ms)

    def draw(self) -> None:
        """Send the charts to the page."""
        for chart in self._charts.values():
            chart.draw()

    def _chart(self, title: str, colour: str, bounds: bool = False) -> Chart:
        if title not in self._charts:
            self._charts[title] = Chart(self._server, title, colour, bounds)
        return self._charts[title]
