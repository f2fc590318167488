# SPDX-License-Identifier: Apache-2.0
"""Check of the states' rate before commands may pass: below the gate's timeout, the robot does not start.

In motion, each interval longer than the timeout would stop the robot. The rate is measured from the stamps.
"""

from __future__ import annotations

from collections import deque
from statistics import median

INTERVALS = 5
_EQUAL = 1.0 + 1e-6  # tolerance for rounding of stamps


class ArmingRate:
    """Rate of accepted states."""

    def __init__(self) -> None:
        self._intervals: deque[float] = deque(maxlen=INTERVALS)
        self._last_s: float | None = None

    def accepted(self, stamp_s: float) -> None:
        """Process the stamp of an accepted state; one that goes back is a new time base."""
        if self._last_s is not None and stamp_s > self._last_s:
            self._intervals.append(stamp_s - self._last_s)
        elif self._last_s is not None:
            self._intervals.clear()
        self._last_s = stamp_s

    def problem(self, timeout_s: float) -> str:
        """Reason and remedy if states are too slow for a timeout; empty if they are not."""
        if not self._intervals or (period_s := median(self._intervals)) <= timeout_s * _EQUAL:
            return ""
        return (
            f"states come at {1.0 / period_s:.1f} Hz, and state_timeout_s is {timeout_s:g}: at least "
            f"{1.0 / timeout_s:.0f} Hz are needed; raise the driver's rate, or state_timeout_s"
        )
