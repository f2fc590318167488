# SPDX-License-Identifier: Apache-2.0
"""Weight of an attached body as a force on the quadrotor, for the part of an estimate that no body can be."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core import rotation
from metarl_robot.robots.quadrotor.description import GRAVITY_M_S2, Quadrotor

Array = NDArray[np.float64]

_GRAVITY = np.array([0.0, 0.0, -GRAVITY_M_S2])


def static_wrench(robot: Quadrotor, parameters: Array) -> Callable[[Array], Array] | None:
    """Map poses (N, 7) to force [N; world] and torque [Nm; body] (N, 6) of the weight; None where it is zero.

    parameters: (10,) about the payload site; mass and first moment may be negative.
    """
    if not parameters[:4].any():
        return None
    mass = float(parameters[0])
    moment = parameters[1:4] + mass * robot.payload_position

    def wrench(q: Array) -> Array:
        torque = rotation.cross(moment[None], rotation.rotate_back(q[:, 3:], _GRAVITY))
        return np.concatenate([np.tile(mass * _GRAVITY, (len(q), 1)), torque], axis=1)

    return wrench
