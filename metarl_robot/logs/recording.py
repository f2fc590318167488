# SPDX-License-Identifier: Apache-2.0
"""A recording of a robot in plain arrays, whatever format it came in."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.errors import MetaRLError

Array = NDArray[np.float64]


MEASURED, COMMANDED, COLLECTIVE = "measured", "commanded", "collective"
FROZEN = "rows in which a position repeats bit for bit while the robot moves: left out"
"""The repair of frozen states, which reading leaves out."""


class LogError(MetaRLError):
    """A log cannot be read, is none of this robot, or holds values that cannot be right."""


@dataclass(frozen=True)
class Repair:
    """Something that reading changed or left out.

    what: in words. count: number of rows, messages or joints that it concerns.
    """

    what: str
    count: int


@dataclass(frozen=True, eq=False)
class Recording:
    """K samples of one robot, in its own order of joints and in its units (core/signals.py).

    source: file or folder. time_s: (K,) rising, from 0. q: (K, nq). v: (K, dof). effort: (K, nu) generalised force of
    the actuators at each sample, gravity included; of a quadrotor the thrusts that act.
    repairs: in the order in which they were made. specific_force: (K, 3) mean since the last sample [m/s²; body]; None:
    not measured. rotors: where a quadrotor's thrusts come from: MEASURED speeds, each rotor's COMMANDED thrust (after
    the motors' lag, by robot.yaml), or a COLLECTIVE thrust alone.
    """

    source: str
    time_s: Array
    q: Array
    v: Array
    effort: Array
    repairs: tuple[Repair, ...] = ()
    specific_force: Array | None = None
    rotors: str = MEASURED

    def acting(self, delay_s: float) -> Recording:
        """This recording with efforts at the times at which they act, `delay_s` after their stamps."""
        times, moved = self.time_s - delay_s, np.empty_like(self.effort)
        for later, column in zip(moved.T, self.effort.T, strict=True):
            later[:] = np.interp(times, self.time_s, column)
        return replace(self, effort=moved)

    @property
    def duration_s(self) -> float:
        return float(self.time_s[-1] - self.time_s[0])

    @property
    def period_s(self) -> float:
        """Median time between two samples [s]."""
        return float(np.median(np.diff(self.time_s)))
