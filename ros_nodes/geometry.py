# SPDX-License-Identifier: Apache-2.0
"""Conversions between arrays and geometry_msgs."""

from __future__ import annotations

from typing import Any

import numpy as np
from geometry_msgs.msg import Quaternion, Vector3
from numpy.typing import NDArray

Array = NDArray[np.float64]


def quaternion_message(q: Array) -> Quaternion:
    """Quaternion (4,) wxyz as a message."""
    w, x, y, z = (float(part) for part in q)
    return Quaternion(w=w, x=x, y=y, z=z)


def vector_message(values: Array) -> Vector3:
    """Vector (3,) as a message."""
    x, y, z = (float(value) for value in values)
    return Vector3(x=x, y=y, z=z)


def set_point(point: Any, values: Array) -> None:
    """Write a position (3,) to a message."""
    point.x, point.y, point.z = (float(value) for value in values)


def xyz(vector: Any) -> Array:
    """Read a vector or point (3,)."""
    return np.array([vector.x, vector.y, vector.z])


def wxyz(turned: Any) -> Array:
    """Read a quaternion (4,)."""
    return np.array([turned.w, turned.x, turned.y, turned.z])
