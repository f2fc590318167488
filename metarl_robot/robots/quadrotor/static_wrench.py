# SPDX-License-Identifier: Apache-2.0
"""How the part of an estimated payload that no body can be still acts.

A negative mass m and the rotors' strength γ are estimated together; only their ratio is known well. Multiplied by
c = M / (M + m), the equation of motion (M + m) v̇ = γ B u + Δ + (M + m) g is that of the quadrotor alone, with the
strength c γ and the residual c Δ. What is left of the first moment acts as a torque.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core import rotation
from metarl_robot.robots.quadrotor.description import GRAVITY_M_S2, Quadrotor

Array = NDArray[np.float64]

_GRAVITY = np.array([0.0, 0.0, -GRAVITY_M_S2])


LIGHTEST = 0.5
"""Smallest M + m, share of M."""


def robot_to_whole(mass_kg: float, negative_kg: float) -> float:
    """Factor c of the module's docstring; 1 without a negative mass."""
    return mass_kg / max(mass_kg + negative_kg, LIGHTEST * mass_kg)


def static_wrench(robot: Quadrotor, parameters: Array, force: bool = True) -> Callable[[Array], Array] | None:
    """Map poses (N, 7) to force [N; world] and torque [Nm; body] (N, 6) of the weight; None where it is zero.

    parameters: (10,) about the payload site; mass and first moment may be negative. force: whether it has a force, too.
    """
    if not parameters[:4].any():
        return None
    mass = float(parameters[0])
    moment = parameters[1:4] + mass * robot.payload_position

    def wrench(q: Array) -> Array:
        torque = rotation.cross(moment[None], rotation.rotate_back(q[:, 3:], _GRAVITY))
        return np.concatenate([np.tile(float(force) * mass * _GRAVITY, (len(q), 1)), torque], axis=1)

    return wrench
