# SPDX-License-Identifier: Apache-2.0
"""The part of a reference that is near a vehicle: geometric controllers follow a path, not its times."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.signals import Reference, Setpoints

Array = NDArray[np.float64]

SPACING_S = 0.02


class Nearby(NamedTuple):
    """Setpoints from the point nearest to the vehicle on, and its time [s]."""

    points: Setpoints
    time_s: float

    @property
    def speed_m_s(self) -> float:
        """Wanted speed at the nearest point."""
        return float(np.hypot(*self.points.v[0, :2]))

    @property
    def acceleration_m_s2(self) -> float:
        """Wanted acceleration along the path at the nearest point."""
        yaw = self.points.q[0, 2]
        return float(np.cos(yaw) * self.points.a[0, 0] + np.sin(yaw) * self.points.a[0, 1])


def nearby(reference: Reference, time: float, position: Array, behind_s: float, ahead_s: float) -> Nearby | None:
    """The reference from the point nearest to a position (2,) on; None if it is not finite.

    behind_s, ahead_s: how far behind and ahead of the present time the vehicle may be.
    """
    times = time + np.arange(-behind_s, ahead_s + SPACING_S, SPACING_S)
    points = reference.sample(times)
    if not all(np.all(np.isfinite(values)) for values in (points.q, points.v, points.a)):
        return None
    away = np.sum((points.q[:, :2] - position) ** 2, axis=1)
    nearest = int(np.argmin(away))
    later = slice(nearest, None)
    return Nearby(Setpoints(points.q[later], points.v[later], points.a[later]), float(times[nearest]))
