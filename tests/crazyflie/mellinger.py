# SPDX-License-Identifier: Apache-2.0
"""The firmware's controller_mellinger.c (2025) with its default gains, for the stand-in of the firmware.

After Mellinger, Kumar, ICRA 2011, with integrals, and the derivative of the rates' error.

    F = m (a + g e_z) + k_p e_p + k_d e_v + k_i ∫ e_p,    thrust = 132000 F · z_b [motor units],    m = 27 g

The desired body z is the direction of F, the desired heading that of the quaternion. Torques are in motor units.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core import rotation
from metarl_robot.core.signals import State

Array = NDArray[np.float64]

MASS_KG, MASS_THRUST = 0.027, 132000.0
KP, KD, KI = np.array([0.4, 0.4, 1.25]), np.array([0.2, 0.2, 0.4]), np.array([0.05, 0.05, 0.05])
I_RANGE = np.array([2.0, 2.0, 0.4])
KR, KW = np.array([70000.0, 70000.0, 60000.0]), np.array([20000.0, 20000.0, 12000.0])
KI_M, I_RANGE_M = np.array([0.0, 0.0, 500.0]), np.array([1.0, 1.0, 1500.0])
KD_OMEGA = np.array([200.0, 200.0, 0.0])
LEGACY = np.array([1.0, -1.0, 1.0])
"""Sign of pitch in the firmware's torques and rate errors: nose up is positive."""
MOST = 32000.0


class Mellinger:
    """See the module's docstring."""

    def __init__(self, dt_s: float) -> None:
        self._dt_s = dt_s
        self.reset()

    def reset(self) -> None:
        self._error, self._error_m = np.zeros(3), np.zeros(3)
        self._rate_error: Array | None = None

    def update(self, state: State, goal: Array, yaw: float, rates: Array, level: bool) -> tuple[float, Array]:
        """Thrust and torques (3,) in motor units.

        goal: position, velocity, acceleration (3, 3). yaw [rad]. rates: [rad/s; FLU]. level: only the height is held.
        """
        matrix = rotation.to_matrix(state.q[3:])
        off, slip = goal[0] - state.q[:3], goal[1] - state.v[:3]
        self._error = np.clip(self._error + self._dt_s * off, -I_RANGE, I_RANGE)
        force = KP * off + KD * slip + KI * self._error + MASS_KG * np.array([0.0, 0.0, 9.81])
        if level:
            force[:2], yaw, rates = 0.0, float(np.arctan2(matrix[1, 0], matrix[0, 0])), np.zeros(3)
        else:
            force = force + MASS_KG * goal[2]
        z = force / np.linalg.norm(force)
        y = np.cross(z, [np.cos(yaw), np.sin(yaw), 0.0])
        y /= np.linalg.norm(y)
        wanted = np.stack([np.cross(y, z), y, z], axis=1)
        turned = wanted.T @ matrix - matrix.T @ wanted
        tilt = LEGACY * np.array([turned[2, 1], turned[0, 2], turned[1, 0]])
        rate_error = LEGACY * (rates - state.v[3:])
        before = rate_error if self._rate_error is None else self._rate_error
        self._rate_error = rate_error
        self._error_m = np.clip(self._error_m - self._dt_s * tilt, -I_RANGE_M, I_RANGE_M)
        torques = -KR * tilt + KW * rate_error + KI_M * self._error_m + KD_OMEGA * (rate_error - before) / self._dt_s
        return MASS_THRUST * float(force @ matrix[:, 2]), np.clip(torques, -MOST, MOST) * np.array([1.0, 1.0, -1.0])
