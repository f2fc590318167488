# SPDX-License-Identifier: Apache-2.0
"""Durations and statuses of control steps, for /diagnostics."""

from __future__ import annotations

from collections import Counter, deque

import numpy as np

from metarl_robot.core.signals import Command, Status

_WINDOW = 1000  # steps in median and p99: five seconds at 200 Hz
STATUS_CODES = {Status.SOLVED: 0.0, Status.DEGRADED: 1.0, Status.FAILED: 2.0}


class StepStatistics:
    """Counts since the start, times over the last steps.

    late: steps with a command later than the control period.
    """

    def __init__(self) -> None:
        self._times_ms: deque[float] = deque(maxlen=_WINDOW)
        self.statuses: Counter[str] = Counter()
        self.late = 0
        self.last_problem = ""
        self._bad_since_look = False

    def add(self, command: Command, step_ms: float, late: bool) -> None:
        """Count one step."""
        self._times_ms.append(step_ms)
        self.statuses[command.status.value] += 1
        self.late += late
        if command.status is not Status.SOLVED:
            self.last_problem = command.message
            self._bad_since_look = True

    def look(self) -> tuple[dict[str, object], bool]:
        """Values for /diagnostics, and whether all steps since the last look were solved."""
        times = np.array(self._times_ms) if self._times_ms else np.zeros(1)
        values: dict[str, object] = {
            "steps": sum(self.statuses.values()),
            "step_ms_median": float(np.median(times)),
            "step_ms_p99": float(np.percentile(times, 99)),
            "missed_deadlines": self.late,
            **{f"status_{status.value}": self.statuses[status.value] for status in Status},
        }
        if self.last_problem:
            values["last_problem"] = self.last_problem
        good, self._bad_since_look = not self._bad_since_look, False
        return values, good
