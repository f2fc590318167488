# SPDX-License-Identifier: Apache-2.0
"""Conversion between an autopilot's frames (world NED, body FRD) and ours (world ENU, body FLU; REP-103, REP-105).

World: north-east-down ↔ east-north-up, (x, y, z) ↔ (y, x, -z). Body: forward-right-down ↔ forward-left-up, (x, y, z) ↔
(x, -y, -z). Both are half turns, so each is its own inverse. Attitudes are quaternions wxyz [body→world]:

    R_ned_frd = P R_enu_flu F,    P: half turn about (1, 1, 0)/√2,    F: half turn about x

A level vehicle that faces north has yaw 0 in NED and yaw +90° in ENU; yaw_enu = 90° - yaw_ned. A half turn is a
quaternion with p ⊗ p = -1, so that converting forth and back returns the same quaternion, with its sign.

This is the only module that knows these signs.
"""

from __future__ import annotations

from math import sqrt

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core import rotation

Array = NDArray[np.float64]

_WORLD = np.array([0.0, sqrt(0.5), sqrt(0.5), 0.0])
_BODY = np.array([0.0, 1.0, 0.0, 0.0])


def world(vector: Array) -> Array:
    """A vector (..., 3) of any unit from NED to ENU, or from ENU to NED."""
    return np.stack([vector[..., 1], vector[..., 0], -vector[..., 2]], axis=-1)


def body(vector: Array) -> Array:
    """A vector (..., 3) of any unit from FRD to FLU, or from FLU to FRD."""
    return np.stack([vector[..., 0], -vector[..., 1], -vector[..., 2]], axis=-1)


def attitude(q: Array) -> Array:
    """A quaternion wxyz (..., 4) [FRD→NED] to [FLU→ENU], or [FLU→ENU] to [FRD→NED]."""
    return rotation.multiply(rotation.multiply(_WORLD, q), _BODY)


def attitude_of_angles(roll: float, pitch: float, yaw: float) -> Array:
    """Quaternion wxyz (4,) [FRD→NED] of roll, pitch, yaw [rad] as MAVLink defines them (about x after y after z)."""
    about_z, about_y, about_x = (
        rotation.exp(np.array(angle)) for angle in ((0.0, 0.0, yaw), (0.0, pitch, 0.0), (roll, 0.0, 0.0))
    )
    return rotation.multiply(rotation.multiply(about_z, about_y), about_x)
