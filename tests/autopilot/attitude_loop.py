# SPDX-License-Identifier: Apache-2.0
"""PX4's attitude loop (v1.16), for the stand-in autopilot; its default gains, weight of yaw and limits of rates.

The wanted attitude q_d is split into the shortest turn of body z, and a turn about body z of which a share
MC_YAW_WEIGHT is asked for. Of the rest q_e = q⁻¹ q_d' the rates are P 2 Im(q_e), with P_z divided by that share.

Source: src/modules/mc_att_control/AttitudeControl; Brescianini, Hehn, D'Andrea, "Nonlinear quadrocopter attitude
control", 2013.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core import rotation

Array = NDArray[np.float64]

MC_ROLL_P, MC_PITCH_P, MC_YAW_P, MC_YAW_WEIGHT = 6.5, 6.5, 2.8, 0.4
RATE_LIMIT = np.deg2rad([220.0, 220.0, 200.0])
OPPOSITE = 1.0 - 1e-5


def attitude_rates(q: Array, wanted: Array) -> Array:
    """Body rates (3,) [rad/s; FLU] of an attitude (4,) and the wanted one (4,) [FLU→ENU]."""
    tilt = _shortest(rotation.up(q), rotation.up(wanted))
    reduced = wanted if np.abs(tilt[1:3]).max() > OPPOSITE else rotation.multiply(tilt, q)
    turn = _nearer(rotation.multiply(rotation.inverse(reduced), wanted))
    half = MC_YAW_WEIGHT * np.arcsin(np.clip(turn[3], -1.0, 1.0))
    target = rotation.multiply(reduced, np.array([np.cos(half), 0.0, 0.0, np.sin(half)]))
    error = 2.0 * _nearer(rotation.multiply(rotation.inverse(q), target))[1:]
    gains = np.array([MC_ROLL_P, MC_PITCH_P, MC_YAW_P / MC_YAW_WEIGHT])
    return np.clip(gains * error, -RATE_LIMIT, RATE_LIMIT)


def _shortest(a: Array, b: Array) -> Array:
    """Quaternion (4,) of the shortest turn from a unit vector to another."""
    made = np.array([1.0 + a @ b, *np.cross(a, b)])
    return made / max(float(np.linalg.norm(made)), 1e-9)


def _nearer(q: Array) -> Array:
    """Of q and -q the one with the smaller angle."""
    return q if q[0] >= 0.0 else -q
