# SPDX-License-Identifier: Apache-2.0
"""One recorded run as arrays, the common input of figures and summaries."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Payload:
    """A payload over time in the payload site's frame, true or estimated.

    time_s: (K,). mass_kg, mass_std_kg: (K,). com_m, com_std_m: (K, 3). A true payload has zero deviations. com_m is NaN
    where the mass is too small.
    """

    time_s: Array
    mass_kg: Array
    mass_std_kg: Array
    com_m: Array
    com_std_m: Array

    def at(self, time_s: float) -> Payload:
        """The payload valid at `time_s`, as one sample; before the first sample, the first."""
        i = max(int(np.searchsorted(self.time_s, time_s + 1e-9, side="right")) - 1, 0)
        return Payload(
            *(values[i : i + 1] for values in (self.time_s, self.mass_kg, self.mass_std_kg, self.com_m, self.com_std_m))
        )


class Event(NamedTuple):
    """A change, and its time [s]."""

    time_s: float
    what: str


@dataclass(frozen=True)
class RunLog:
    """One run of one controller; times are seconds of the run's own clock.

    Arrays for N states, answered by the controller or not:

    - time_s: (N,).
    - q, v, q_reference, v_reference: (N, nq or dof) true state and reference.
    - position_m, position_reference_m: (N, 3) of the end effector, or of the body of a quadrotor.
    - angle_error_rad: (N, m) of the joints, or of the attitude about body x, y, z.
    - effort: (N, nu) applied by the motors [Nm or N].

    Arrays for K controller steps:

    - step_time_s: (K,) stamp of the answered state.
    - step_ms: (K,) duration.
    - status: (K,) 0 solved, 1 degraded, 2 failed.
    - late: (K,) missed its deadline.

    label: name in figures and tables. violations: physics steps beyond a limit. truth: the payload. estimate: the
    controller's; None without one. period_s: time between two commands. events: changes, in order. crash_s: time of the
    crash, None without one. robot: name, or folder of a robot that is not shipped.
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
    truth: Payload
    estimate: Payload | None
    period_s: float
    events: tuple[Event, ...] = ()
    crash_s: float | None = None

    @property
    def error_m(self) -> Array:
        """Distance between position and reference, (N,)."""
        return np.asarray(np.linalg.norm(self.position_m - self.position_reference_m, axis=1))

    @property
    def change_s(self) -> tuple[float, ...]:
        """Times at which the payload changed."""
        return tuple(float(time) for time in self.truth.time_s[1:])

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
