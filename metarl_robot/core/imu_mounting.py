# SPDX-License-Identifier: Apache-2.0
"""Transforms IMU measurements to the base's origin and axes.

With R the rotation from the IMU's axes to the base's, r the IMU's position in the base frame, ω the base's rate and α
its angular acceleration (Groves, Principles of GNSS, Inertial and Multisensor Integrated Navigation, 2013, section
5.7; the body is rigid):

    ω = R ω_imu
    f = R f_imu − ω × (ω × r) − α × r

α is the difference quotient of successive rates. Its mean over several measurements is the quotient between the first
and the last, so that averaging forces also averages the noise of α.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core import rotation
from metarl_robot.core.errors import MetaRLError
from metarl_robot.core.signals import Inertial

Array = NDArray[np.float64]

MAX_DIFFERENCE_S = 0.05  # a larger interval gives no usable angular acceleration
_NORM_TOLERANCE = 0.01


class MountingError(MetaRLError):
    """An IMU's mounting is not a rotation and a position."""


class ImuMounting:
    """IMU mounting for one stream of measurements; keeps the last rate."""

    def __init__(
        self, rotation_wxyz: Sequence[float] = (1.0, 0.0, 0.0, 0.0), position_m: Sequence[float] = (0.0, 0.0, 0.0)
    ) -> None:
        turn, place = np.array(rotation_wxyz, dtype=float), np.array(position_m, dtype=float)
        if turn.shape != (4,) or not abs(float(np.linalg.norm(turn)) - 1.0) <= _NORM_TOLERANCE:
            raise MountingError(
                f"imu_rotation_wxyz is {list(rotation_wxyz)}; must be a unit quaternion w, x, y, z from the IMU's axes "
                "to the base's"
            )
        if place.shape != (3,) or not np.all(np.isfinite(place)):
            raise MountingError(
                f"imu_position_m is {list(position_m)}; must be x, y, z of the IMU in the base frame [m]"
            )
        self._turn, self._place = rotation.normalise(turn), place
        self._aligned = bool(np.array_equal(turn, rotation.IDENTITY) and not place.any())
        self._last: tuple[float, Array] | None = None

    def to_base(self, measured: Inertial, stamp_s: float) -> Inertial:
        """Transform a measurement to the base's origin and axes. All values must be finite."""
        if self._aligned:
            return measured
        rate = rotation.rotate(self._turn, measured.rate)
        force = rotation.rotate(self._turn, measured.specific_force) - self._lever(rate, stamp_s)
        attitude = measured.attitude
        if attitude is not None:
            attitude = rotation.multiply(attitude, rotation.inverse(self._turn))
        return Inertial(force, rate, attitude)

    def _lever(self, rate: Array, stamp_s: float) -> Array:
        """Acceleration of the IMU relative to the base's origin, (3,) [m/s²]."""
        centripetal = rotation.cross(rate, rotation.cross(rate, self._place))
        last, self._last = self._last, (stamp_s, rate)
        if last is None or not 0.0 < stamp_s - last[0] <= MAX_DIFFERENCE_S:
            return centripetal
        return centripetal + rotation.cross((rate - last[1]) / (stamp_s - last[0]), self._place)
