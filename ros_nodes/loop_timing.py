# SPDX-License-Identifier: Apache-2.0
"""How well the loop keeps time, seen by who closes it: from a state's departure to the arrival of the command that
answers it.

A period that ends before the answer to its state is there has missed its deadline, whether the answer comes late or
never.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import numpy as np

WINDOW_S = 10.0  # what the numbers are taken over
_PENDING = 50  # states whose late answers are still told apart


class LoopTimes(NamedTuple):
    """periods: how many were looked at. latency: of answers, late ones too. jitter: how far periods are off.

    NaN where nothing came.
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
    """Times of the last ten seconds. All times are seconds of a steady clock."""

    def __init__(self, period_s: float) -> None:
        self._period_s = period_s
        length = round(WINDOW_S / period_s)
        self._latencies: deque[float] = deque(maxlen=length)
        self._periods: deque[float] = deque(maxlen=length)
        self._missed: deque[bool] = deque(maxlen=length)
        self._sent: dict[int, float] = {}
        self._newest_ns, self._newest_s = -1, -np.inf

    def sent(self, stamp_ns: int, now_s: float) -> None:
        """A state has left; with it, the period of the one before has ended."""
        if self._newest_ns >= 0:
            self._missed.append(self._newest_ns in self._sent)
            self._periods.append(now_s - self._newest_s)
        self._newest_ns, self._newest_s = stamp_ns, now_s
        self._sent[stamp_ns] = now_s
        if len(self._sent) > _PENDING:
            del self._sent[next(iter(self._sent))]

    def answered(self, stamp_ns: int | None, now_s: float) -> None:
        """The answer to the state of that stamp has come; a second one does not count."""
        sent_s = None if stamp_ns is None else self._sent.pop(stamp_ns, None)
        if sent_s is not None:
            self._latencies.append(now_s - sent_s)

    def look(self) -> LoopTimes:
        """What the last ten seconds were like."""
        latencies = 1e3 * np.array(self._latencies or [np.nan])
        off = 1e3 * np.abs(np.array(self._periods or [np.nan]) - self._period_s)
        median, p99 = np.percentile(latencies, (50.0, 99.0))
        return LoopTimes(
            len(self._missed), median, p99, latencies.max(), float(np.percentile(off, 99.0)), sum(self._missed)
        )
