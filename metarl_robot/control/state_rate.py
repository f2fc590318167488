# SPDX-License-Identifier: Apache-2.0
"""The rate of the states, from their stamps. A controller is retuned if it is slower than the controller's own.

A command is held until the next state. Feedback and observers tuned for 200 Hz are unstable at 40 Hz.
"""

from __future__ import annotations

from collections import deque

INTERVALS = 25
FEWEST = 3
"""The period is the median of the last FEWEST to INTERVALS intervals, so that lost states do not change it."""
AGAIN_SHARE = 0.9
"""A shorter period is used when this share of the intervals is that short.

A controller that cannot keep pace loses about every second state. It must not be retuned each time the median changes,
because its adapter would restart and the next states would be lost meanwhile.
"""
CHANGED = 1.25
"""The period in use changes if the measured one is larger or smaller by this ratio."""
URGENT = 1.6
"""After FEWEST intervals longer than this many periods in use, the controller is retuned at once.

At gains for 50 Hz, states at 25 Hz move an arm by 0.3 rad until the median has changed.
"""
ENDURED = 4.0
"""Intervals up to this many own periods are never urgent: a controller that loses a few states stays stable."""


class StateRate:
    """Period of the states.

    period_s: in use; never shorter than the controller's own.
    """

    def __init__(self, period_s: float) -> None:
        self._own_s = self.period_s = period_s
        self._intervals: deque[float] = deque(maxlen=INTERVALS)
        self._time_s: float | None = None

    def changed(self, time_s: float) -> bool:
        """Process the stamp of the next state; returns whether the period in use changed."""
        last_s, self._time_s = self._time_s, time_s
        if last_s is None or time_s <= last_s:
            return False
        self._intervals.append(time_s - last_s)
        usual = time_s - last_s < CHANGED * self._own_s and self.period_s == self._own_s
        if usual or len(self._intervals) < FEWEST:
            return False
        measured_s = self._urgent_s() or self._measured_s()
        if measured_s < CHANGED * self._own_s:
            measured_s = self._own_s  # differences of times are never exactly that
        if 1.0 / CHANGED < measured_s / self.period_s < CHANGED:
            return False
        self.period_s = measured_s
        return True

    def _urgent_s(self) -> float:
        """The shortest of the last intervals if all are far too long for the period in use, else 0."""
        shortest = min(list(self._intervals)[-FEWEST:])
        return shortest if shortest > max(URGENT * self.period_s, ENDURED * self._own_s) else 0.0

    def _measured_s(self) -> float:
        """Median interval, at least the own period; shorter than the one in use only if nearly all intervals are."""
        ordered = sorted(self._intervals)
        usual, most = ordered[len(ordered) // 2], ordered[int(AGAIN_SHARE * (len(ordered) - 1))]
        return max(usual, min(most, self.period_s), self._own_s)
