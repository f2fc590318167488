# SPDX-License-Identifier: Apache-2.0
"""Attitude error with tilt and heading separated.

Thrust follows the tilt; heading hardly affects it and has far less torque. The rotation from q to its target is split
into a tilt, about an axis in the body's horizontal plane, that aligns body z, and then a turn about body z
(Brescianini, D'Andrea, "Tilt-prioritized quadrocopter attitude control", IEEE TCST 2018):

    q⁻¹ ⊗ q_d = q_tilt ⊗ q_yaw
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core import rotation

Array = NDArray[np.float64]


def tilt_and_yaw_error(q: Array, target: Array) -> Array:
    """Return (3,) the rotation vector of q_tilt (x, y) and the angle of q_yaw (z) [rad; body], each the short way."""
    w, x, y, z = rotation.multiply(rotation.inverse(q), target)
    level = float(np.hypot(w, z))
    if level < 1e-9:  # upside down: every axis is equally good
        return np.array([np.pi, 0.0, 0.0])
    half_x, half_y = (w * x - y * z) / level, (w * y + x * z) / level
    sine = float(np.hypot(half_x, half_y))
    scale = 2.0 * np.arctan2(sine, level) / sine if sine > 1e-12 else 2.0
    yaw = 2.0 * np.arctan2(z, w)
    return np.array([half_x * scale, half_y * scale, (yaw + np.pi) % (2.0 * np.pi) - np.pi])
