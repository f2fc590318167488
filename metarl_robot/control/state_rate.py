# SPDX-License-Identifier: Apache-2.0
"""The rate at which states come, from their stamps: a controller is tuned to it where it is slower than its own.

A command is held until the next state. At 40 Hz, feedback and observers that are tuned for 200 Hz are unstable.
"""

from __future__ import annotations

from collections import deque

INTERVALS = 25
FEWEST = 3
"""The period is the median of the last INTERVALS intervals, from the FEWEST on; lost states do not change it."""
AGAIN_SHARE = 0.9
"""A shorter period is used once this share of the intervals is as short.

A controller that cannot keep pace loses every second state or so. It must not be tuned anew each time that their median
changes: its adapter would start again, and the next states would be lost meanwhile.
"""
CHANGED = 1.25
"""The period in use changes if the measured one is larger or smaller by this ratio."""


class StateRate:
    """Period of the states.

    period_s: in use; never shorter than the controller's own.
    """

    def __init__(self, period_s: float) -> None:
        self._own_s = self.period_s = period_s
        self._intervals: deque[float] = deque(maxlen=INTERVALS)
        self._time_s: float | None = None

    def changed(self, time_s: float) -> bool:
        """Take the stamp of the next state; whether the period in use changed."""
        last_s, self._time_s = self._time_s, time_s
        if last_s is None or time_s <= last_s:
            return False
        self._intervals.append(time_s - last_s)
        usual = time_s - last_s < CHANGED * self._own_s and self.period_s == self._own_s
        if usual or len(self._intervals) < FEWEST:
            return False
        measured_s = self._measured_s()
        if 1.0 / CHANGED < measured_s / self.period_s < CHANGED:
            return False
        self.period_s = measured_s
        return True

    def _measured_s(self) -> float:
        """The median interval; shorter than the period in use only if nearly all are. At least the own period."""
        ordered = sorted(self._intervals)
        usual, most = ordered[len(ordered) // 2], ordered[int(AGAIN_SHARE * (len(ordered) - 1))]
        return max(usual, min(most, self.period_s), self._own_s)
