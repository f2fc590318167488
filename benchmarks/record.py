# SPDX-License-Identifier: Apache-2.0
"""Results of a benchmark: rows of timings beside a peer's, each with a check that both gave the same answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class SameAnswer:
    """One number that ours and the peer both computed."""

    metric: str
    ours: float
    peer: float | None


@dataclass(frozen=True)
class Row:
    """One case against one peer. Times of one call in µs; ratio: peer / ours, of medians.

    peer: None for a case without one. Its times are None if it could not run; `note` gives the reason. details: other
    numbers by name.
    """

    case: str
    ours_us_median: float
    ours_us_p99: float
    peer: str | None = None
    peer_us_median: float | None = None
    peer_us_p99: float | None = None
    ratio: float | None = None
    same_answer: SameAnswer | None = None
    note: str = ""
    details: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Curve:
    """Cost against size, with the fit cost ~ size^exponent; one line of a plot."""

    figure: str
    label: str
    size_name: str
    sizes: tuple[float, ...]
    cost_us: tuple[float, ...]

    @property
    def exponent(self) -> float:
        """Slope of log cost against log size (least squares)."""
        return float(np.polyfit(np.log(self.sizes), np.log(self.cost_us), 1)[0])


@dataclass(frozen=True)
class Benchmark:
    """Result of one benchmark.

    remarks: sentences about the table, such as how the problems were made equal, and limits.
    """

    name: str
    rows: tuple[Row, ...]
    remarks: tuple[str, ...] = ()
    curves: tuple[Curve, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The JSON form, without the machine."""
        curves = [{**asdict(curve), "exponent": curve.exponent} for curve in self.curves]
        return {
            "name": self.name,
            "rows": [asdict(row) for row in self.rows],
            "remarks": list(self.remarks),
            "curves": curves,
        }


def alone(case: str, ours_s: Sequence[float] | Array, **more: Any) -> Row:
    """Row without a peer, from durations [s] of single calls."""
    median, p99 = _percentiles(ours_s)
    return Row(case, median, p99, **more)


def against(
    case: str,
    ours_s: Sequence[float] | Array,
    peer: str,
    peer_s: Sequence[float] | Array,
    same: SameAnswer,
    **more: Any,
) -> Row:
    """Row with a peer, from durations [s] of single calls."""
    (ours, ours_p99), (other, other_p99) = _percentiles(ours_s), _percentiles(peer_s)
    return Row(case, ours, ours_p99, peer, other, other_p99, other / ours, same, **more)


def missing(case: str, ours_s: Sequence[float] | Array, peer: str, why: str) -> Row:
    """Row with a peer that could not run."""
    median, p99 = _percentiles(ours_s)
    return Row(case, median, p99, peer, note=why)


def _percentiles(seconds: Sequence[float] | Array) -> tuple[float, float]:
    median, p99 = np.percentile(1e6 * np.asarray(seconds), (50.0, 99.0))
    return float(median), float(p99)
