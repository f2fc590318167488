# SPDX-License-Identifier: Apache-2.0
"""One recorded run as arrays, the common input of figures and summaries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.quantities import Estimate, Report

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Series:
    """The k quantities of a report over time, true or estimated.

    time_s: (K,). mean, std: (K, k), NaN where there is no value. True values have no deviations.
    """

    report: Report
    time_s: Array
    mean: Array
    std: Array

    def at(self, time_s: float) -> Estimate:
        """The values valid at `time_s`; before the first sample, the first."""
        i = max(int(np.searchsorted(self.time_s, time_s + 1e-9, side="right")) - 1, 0)
        return Estimate(self.mean[i], self.std[i])

    def held(self, times: Array) -> tuple[Array, Array]:
        """Mean and std (N, k) of the latest sample at each time (N,); NaN before the first."""
        index = np.searchsorted(self.time_s, times + 1e-9, side="right") - 1
        before, latest = index[:, None] < 0, np.maximum(index, 0)
        return np.where(before, np.nan, self.mean[latest]), np.where(before, np.nan, self.std[latest])


class External(NamedTuple):
    """The external force, as the controller estimated it.

    time_s: (K,). contact: (K,) 0 none, 1 undecided, 2 contact. force_n: (K, 3) in the axes of its frame.
    """

    time_s: Array
    contact: Array
    force_n: Array


class Event(NamedTuple):
    """A change of a report's true values, and its time [s]."""

    time_s: float
    what: str
    report: str = ""


@dataclass(frozen=True)
class RunLog:
    """One run of one controller; times are seconds of the run's own clock.

    Arrays for N states, answered by the controller or not:

    - time_s: (N,).
    - q, v, q_reference, v_reference: (N, nq or dof) true state and reference.
    - position_m, position_reference_m: (N, 3) of the robot's tracked point.
    - angle_error_rad: (N, m) of the joints, or of the attitude about body x, y, z.
    - effort: (N, nu) applied by the motors.

    Arrays for K controller steps:

    - step_time_s: (K,) stamp of the answered state.
    - step_ms: (K,) duration.
    - status: (K,) 0 solved, 1 degraded, 2 failed.
    - late: (K,) missed its deadline.

    label: name in figures and tables. violations: physics steps beyond a limit. truth: true values by report's name,
    the first and one more at each change. estimates: the controller's by report's name, without reports that it does
    not estimate. period_s: time between two commands. events: changes, in order. crash_s: time of the crash, None
    without one. robot: name, or folder of a robot that is not shipped. external: None if the controller feels nothing.
    """

    robot: str
    controller: str
    label: str
    time_s: Array
    position_m: Array
    position_reference_m: Array
    q: Array
    q_reference: Array
    v: Array
    v_reference: Array
    angle_error_rad: Array
    effort: Array
    step_time_s: Array
    step_ms: Array
    status: NDArray[np.int_]
    late: NDArray[np.bool_]
    violations: int
    truth: Mapping[str, Series]
    estimates: Mapping[str, Series]
    period_s: float
    events: tuple[Event, ...] = ()
    crash_s: float | None = None
    external: External | None = None

    @property
    def error_m(self) -> Array:
        """Distance between position and reference, (N,)."""
        return np.asarray(np.linalg.norm(self.position_m - self.position_reference_m, axis=1))

    @property
    def change_s(self) -> tuple[float, ...]:
        """Times of the events."""
        return tuple(event.time_s for event in self.events)

    @property
    def missed_deadlines(self) -> int:
        """Number of steps that finished after their control period."""
        return int(np.sum(self.late))

    def until(self, end_s: float) -> RunLog:
        """The run up to a time, without the data recorded while it was being stopped."""
        states, steps = (
            int(np.searchsorted(times, end_s + 1e-9, side="right")) for times in (self.time_s, self.step_time_s)
        )
        kept = {name: getattr(self, name)[:states] for name in _OF_STATES} | {
            name: getattr(self, name)[:steps] for name in _OF_STEPS
        }
        crash_s = self.crash_s if self.crash_s is not None and self.crash_s <= end_s else None
        return replace(
            self, **kept, events=tuple(event for event in self.events if event.time_s < end_s), crash_s=crash_s
        )


_OF_STATES = (
    "time_s",
    "position_m",
    "position_reference_m",
    "q",
    "q_reference",
    "v",
    "v_reference",
    "angle_error_rad",
    "effort",
)
_OF_STEPS = ("step_time_s", "step_ms", "status", "late")
