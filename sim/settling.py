# SPDX-License-Identifier: Apache-2.0
"""Settling: from when on the running RMS of the error stays within an absolute bound, the same for every controller.

The running RMS covers the last RMS_WINDOW_S and is drawn in the figures of runs. Single samples scatter beyond twice
an RMS for good, so that they do not show when a run has settled. The bound is max(2 e_o, floor), with e_o the root mean
square error of the oracle in the same run, 1 to 5 s after the change, and the floor of the robot's kind
(sim/kinds.py: Simulation.settled_m). Without an oracle it is the floor.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

ORACLE = "oracle_mpc"
RMS_WINDOW_S = 0.25
"""Length of the running RMS."""
_MULTIPLE = 2.0


@dataclass(frozen=True)
class Envelope:
    """Largest running RMS (K,) [m] from each time since the change (K,) [s] to the end of the run."""

    since_s: Array
    largest_m: Array

    def settle_s(self, within_m: float) -> float | None:
        """Time from the change until the running RMS stays below a bound; None: never."""
        below = np.flatnonzero(self.largest_m < within_m)
        return float(self.since_s[below[0]]) if len(below) else None


def envelope(times: Array, error_m: Array, change_s: float) -> Envelope:
    """Envelope of errors (N,) at times (N,), from the change on."""
    later = times >= change_s - 1e-9
    running = running_rms(times, error_m)[later]
    return Envelope(times[later] - change_s, np.maximum.accumulate(running[::-1])[::-1])


def running_rms(time_s: Array, values: Array, window_s: float = RMS_WINDOW_S) -> Array:
    """Root mean square (N,) of `values` (N,) over the last `window_s` seconds; the first windows are shorter."""
    squares = np.concatenate([[0.0], np.cumsum(values**2)])
    first = np.searchsorted(time_s, time_s - window_s, side="left")
    last = np.arange(1, len(values) + 1)
    return np.asarray(np.sqrt(np.maximum(squares[last] - squares[first], 0.0) / (last - first)))


def bound_m(floor_m: float, oracle_m: float | None) -> float:
    """Bound of a settled error; oracle_m: the oracle's error, None without one."""
    return floor_m if oracle_m is None else max(_MULTIPLE * oracle_m, floor_m)
