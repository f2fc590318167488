# SPDX-License-Identifier: Apache-2.0
"""What a benchmark says: rows of timings beside a peer's, each with the proof that both did the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class SameAnswer:
    """One number that both computed: of ours and of the peer."""

    metric: str
    ours: float
    peer: float | None


@dataclass(frozen=True)
class Row:
    """One case against one peer. Times in µs for one call; ratio: peer / ours, of medians.

    peer: None where the case stands alone. Its times are None where it could not run: `note` says why. details: more
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
    """Cost against size, fitted: cost ~ size^exponent. One line of a plot."""

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
    """What one benchmark measured. remarks: sentences for the reader of the table (how the problem was made the same,
    limits).
    """

    name: str
    rows: tuple[Row, ...]
    remarks: tuple[str, ...] = ()
    curves: tuple[Curve, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it, without the machine."""
        curves = [{**asdict(curve), "exponent": curve.exponent} for curve in self.curves]
        return {
            "name": self.name,
            "rows": [asdict(row) for row in self.rows],
            "remarks": list(self.remarks),
            "curves": curves,
        }


def alone(case: str, ours_s: Sequence[float] | Array, **more: Any) -> Row:
    """A row without a peer, from durations [s] of single calls."""
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
    """A row with a peer, from durations [s] of single calls."""
    (ours, ours_p99), (other, other_p99) = _percentiles(ours_s), _percentiles(peer_s)
    return Row(case, ours, ours_p99, peer, other, other_p99, other / ours, same, **more)


def missing(case: str, ours_s: Sequence[float] | Array, peer: str, why: str) -> Row:
    """A row whose peer could not run."""
    median, p99 = _percentiles(ours_s)
    return Row(case, median, p99, peer, note=why)


def _percentiles(seconds: Sequence[float] | Array) -> tuple[float, float]:
    median, p99 = np.percentile(1e6 * np.asarray(seconds), (50.0, 99.0))
    return float(median), float(p99)
