# SPDX-License-Identifier: Apache-2.0
"""Bounds of the planned torques by the estimated friction: the longitudinal share of the friction circle.

    |Σ T| / r <= s √((μ m g)² - (m v ψ')²),    and at least s_0 s μ m g

v and ψ' are speed and yaw rate of the plan. A linearised plan does not contain the saturation of the tyres.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metarl_robot.robots.ground.description import GRAVITY_M_S2, Ground

Array = NDArray[np.float64]

LEAST_SHARE = 0.3
"""s_0: share of the friction that is always available for driving."""


def torque_bounds(robot: Ground, states: Array, friction: float, mass_kg: float, share: float) -> Array:
    """Largest torque (N, nu) of each channel at states (N, n) [Nm]; infinite for a steering angle.

    share: s, of the circle that the plan may use.
    """
    turning = np.abs(np.hypot(states[:, 3], states[:, 4]) * states[:, 5] / GRAVITY_M_S2)
    turning = np.minimum(turning, friction)  # no square of a plan that diverges overflows
    free = np.sqrt(np.maximum(friction**2 - turning**2, (LEAST_SHARE * friction) ** 2))
    total = share * free * mass_kg * GRAVITY_M_S2 * robot.wheel_radius_m
    torques = np.count_nonzero(robot.torque_channels)
    return np.where(robot.torque_channels, total[:, None] / torques, np.inf)
