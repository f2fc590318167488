# SPDX-License-Identifier: Apache-2.0
"""The largest generalised force of a robot, with which errors of forces are compared."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def force_scale(robot: Any) -> Array:
    """Largest generalised force (n,): of joints the effort limits.

    Of a multirotor: the collective thrust for each axis of the force [N], and half of the sum of the torques that the
    rotors can give, about each axis [Nm].
    """
    if robot.attitude is None:
        return np.asarray(robot.effort_limit)
    most = np.abs(robot.allocation) @ robot.effort_limit
    return np.concatenate([np.full(3, most[0]), 0.5 * most[1:]])
