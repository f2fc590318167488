# SPDX-License-Identifier: Apache-2.0
"""Timing of the control loop at the robot: from sending a state to receiving its command.

A period misses its deadline if it ends before the answer to its state arrives, late or never.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import numpy as np

WINDOW_S = 10.0  # time window of the statistics
_PENDING = 50  # states whose late answers are still counted


class LoopTimes(NamedTuple):
    """Statistics of the window; NaN without data.

    periods: their number. latency: of answers, late ones included. jitter: deviation of periods from nominal. missed:
    number of missed deadlines.
    """

    periods: int
    latency_ms_median: float
    latency_ms_p99: float
    latency_ms_max: float
    jitter_ms_p99: float
    missed: int

    def __str__(self) -> str:
        return " ".join(f"{name}={value:.6g}" for name, value in self._asdict().items())


class LoopTiming:
    """Timing over the last ten seconds. All times are seconds of a steady clock."""

    def __init__(self, period_s: float) -> None:
        self._period_s = period_s
        length = round(WINDOW_S / period_s)
        self._latencies: deque[float] = deque(maxlen=length)
        self._periods: deque[float] = deque(maxlen=length)
        self._missed: deque[bool] = deque(maxlen=length)
        self._sent: dict[int, float] = {}
        self._newest_ns, self._newest_s = -1, -np.inf

    def sent(self, stamp_ns: int, now_s: float) -> None:
        """Record that a state was sent; this ends the previous period."""
        if self._newest_ns >= 0:
            self._missed.append(self._newest_ns in self._sent)
            self._periods.append(now_s - self._newest_s)
        self._newest_ns, self._newest_s = stamp_ns, now_s
        self._sent[stamp_ns] = now_s
        if len(self._sent) > _PENDING:
            del self._sent[next(iter(self._sent))]

    def answered(self, stamp_ns: int | None, now_s: float) -> None:
        """Record the answer to the state of that stamp; repeated answers are ignored."""
        sent_s = None if stamp_ns is None else self._sent.pop(stamp_ns, None)
        if sent_s is not None:
            self._latencies.append(now_s - sent_s)

    def look(self) -> LoopTimes:
        """Statistics of the last ten seconds."""
        latencies = 1e3 * np.array(self._latencies or [np.nan])
        off = 1e3 * np.abs(np.array(self._periods or [np.nan]) - self._period_s)
        median, p99 = np.percentile(latencies, (50.0, 99.0))
        return LoopTimes(
            len(self._missed), median, p99, latencies.max(), float(np.percentile(off, 99.0)), sum(self._missed)
        )
