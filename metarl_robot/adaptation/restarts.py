# SPDX-License-Identifier: Apache-2.0
"""Returns of a filter to its prior, which cannot loop: the context is held there twice as long each time.

A context returns if it has diverged, or if it changes repeatedly: its model is then wrong, the robot oscillates, and
each further change drives the oscillation.
"""

from __future__ import annotations

ALARM_MEMORY_S, MOST_ALARMS = 2.0, 4.0
"""After more than MOST_ALARMS detected changes within about ALARM_MEMORY_S, the filter returns to its prior."""
FIRST_HOLD_S, LONGEST_HOLD_S = 0.5, 60.0
"""First and longest time for which the context stays at its prior; it doubles with each restart."""


class Restarts:
    """detections: number of detected changes and of restarts. count: number of restarts."""

    def __init__(self) -> None:
        self.detections = self.count = 0
        self._alarms = self._held_s = 0.0

    @property
    def holding(self) -> bool:
        """Whether the context is held at its prior."""
        return self._held_s > 0.0

    def passes(self, dt: float) -> None:
        """Time passes without a detected change."""
        self._alarms *= max(0.0, 1.0 - dt / ALARM_MEMORY_S)

    def detected(self) -> bool:
        """A change was detected; returns whether there were too many."""
        self.detections += 1
        self._alarms += 1.0
        return self._alarms > MOST_ALARMS

    def begin(self) -> None:
        """A restart: the context is held from now on."""
        self._alarms = 0.0
        self._held_s = min(FIRST_HOLD_S * 2.0 ** min(self.count, 30), LONGEST_HOLD_S)
        self.detections += 1
        self.count += 1

    def held(self, dt: float) -> bool:
        """The context was held for another dt; returns whether this was long enough."""
        self._held_s -= dt
        return self._held_s <= 0.0
