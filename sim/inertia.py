# SPDX-License-Identifier: Apache-2.0
"""Symmetric matrices as six numbers, and the principal axes of an inertia."""

from __future__ import annotations

import mujoco
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def symmetric(entries: Array) -> Array:
    """(xx, yy, zz, xy, xz, yz) -> (3, 3)."""
    xx, yy, zz, xy, xz, yz = entries
    return np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])


def entries(matrix: Array) -> Array:
    """(3, 3) symmetric -> (xx, yy, zz, xy, xz, yz)."""
    return np.array([matrix[0, 0], matrix[1, 1], matrix[2, 2], matrix[0, 1], matrix[0, 2], matrix[1, 2]])


def principal(inertia_kg_m2: Array) -> tuple[Array, Array]:
    """Principal axes of an inertia (6,) xx yy zz xy xz yz [kg m²]: frame (4,) wxyz and moments (3,)."""
    moments, axes = np.linalg.eigh(symmetric(inertia_kg_m2))
    if np.linalg.det(axes) < 0.0:
        axes[:, 0] *= -1.0
    quat = np.empty(4)
    mujoco.mju_mat2Quat(quat, axes.ravel())
    return quat, np.maximum(moments, 0.0)
