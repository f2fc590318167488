# SPDX-License-Identifier: Apache-2.0
"""Transforms between body and world axes of a vehicle, in numpy; dynamics.py has the same in CasADi."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metarl_robot.core.signals import State

Array = NDArray[np.float64]


def turns(angles: ArrayLike) -> Array:
    """Rotations about z (..., 3, 3) by angles (...) [rad]."""
    c, s, zero, one = np.cos(angles), np.sin(angles), np.zeros_like(angles), np.ones_like(angles)
    return np.moveaxis(np.array([[c, -s, zero], [s, c, zero], [zero, zero, one]]), (0, 1), (-2, -1))


def forward_speed(state: State) -> float:
    """Speed along the heading [m/s]."""
    return float(np.cos(state.q[2]) * state.v[0] + np.sin(state.q[2]) * state.v[1])
