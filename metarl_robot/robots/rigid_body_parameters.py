# SPDX-License-Identifier: Apache-2.0
"""Inertial parameters of a physically possible body.

Ten parameters π = (m, h, I about the frame's origin) are those of a body exactly if the pseudo-inertia

    J(π) = [[Σ, h], [hᵀ, m]]      Σ = ½ tr(I) 1 - I

is positive semidefinite (Wensing, Kim, Slotine 2018). That is so if m > 0 and Σ - h hᵀ / m ⪰ 0, the second moment about
the centre of mass. Both are made positive by a smooth function. Mass and first moment, which motion determines well,
are unchanged where the mass is positive; inertia, which it determines badly, absorbs the errors.

In C if there is a compiler (rigid_body_parameters.c), else in numpy; results agree to rounding.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray

from metarl_robot.compile.kernel import address, kernel
from metarl_robot.core.signals import Context
from metarl_robot.robots.payload import PAYLOAD_NAMES

Array = NDArray[np.float64]

LEAST_KG = 1e-3
"""Mass below which the positive part is rounded."""
POINT = 50.0
"""A body of less than this many times that mass is a point."""
FARTHEST_M = 0.5
"""Largest distance of the centre of mass."""
LEAST_KG_M2 = 1e-6
"""Second moment below which the positive part is rounded."""
_SYMMETRIC = np.array([[0, 3, 4], [3, 1, 5], [4, 5, 2]])
_PACKED = ([0, 1, 2, 0, 0, 1], [0, 1, 2, 1, 2, 2])


def with_existing_payload(context: Context, farthest_m: float, least_kg: float) -> Context:
    """The context with a physically possible payload, if it has one; see existing_body."""
    if PAYLOAD_NAMES[0] not in context.names:
        return context
    start = context.names.index(PAYLOAD_NAMES[0])
    entries = slice(start, start + len(PAYLOAD_NAMES))
    if context.names[entries] != PAYLOAD_NAMES:
        return context
    mean = context.mean.copy()
    mean[entries] = existing_body(mean[entries], farthest_m, least_kg)
    return Context(context.names, mean, context.std)


def existing_body(parameters: Array, farthest_m: float = FARTHEST_M, least_kg: float = LEAST_KG) -> Array:
    """Parameters (10,) [kg, kg m, kg m²] of a possible body near those given: m, h, I_xx yy zz xy xz yz.

    farthest_m: largest distance of the centre of mass from the origin. least_kg: see LEAST_KG.
    """
    m, x, y, z, xx, yy, zz, xy, xz, yz = parameters.tolist()
    if m > POINT * least_kg:
        half = 0.5 * (xx + yy + zz)
        if _positive_definite(
            half - xx - x * x / m, half - yy - y * y / m, half - zz - z * z / m,
            -xy - x * y / m, -xz - x * z / m, -yz - y * z / m,
        ) and x * x + y * y + z * z <= (farthest_m * m) ** 2:  # fmt: skip
            return parameters
    return nearest_body()(parameters, farthest_m, least_kg)


def _positive_definite(xx: float, yy: float, zz: float, xy: float, xz: float, yz: float) -> bool:
    """By Sylvester's criterion."""
    minor = xx * yy - xy * xy
    return xx > 0.0 and minor > 0.0 and zz * minor + xz * (xy * yz - yy * xz) - yz * (xx * yz - xy * xz) > 0.0


@cache
def nearest_body() -> Callable[[Array, float, float], Array]:
    """`_nearest`, in C if there is a compiler.

    The first call compiles it: make it where a controller is built, not at its first step.
    """
    library = kernel("robots", "rigid_body_parameters", POINT=POINT, LEAST_KG_M2=LEAST_KG_M2)
    if library is None:
        return _nearest
    pointer, number = ctypes.c_void_p, ctypes.c_double
    in_c = ctypes.CFUNCTYPE(None, pointer, pointer, number, number)(("nearest", library))

    def nearest(parameters: Array, farthest_m: float, least_kg: float) -> Array:
        both = np.empty((2, 10))
        both[0] = parameters
        start = address(both)
        in_c(start, start + both.strides[0], farthest_m, least_kg)
        return both[1]

    return nearest


def _nearest(parameters: Array, farthest_m: float, least_kg: float) -> Array:
    mass = float(_positive(parameters[0], least_kg))
    moment = parameters[1:4]
    moment = moment * min(1.0, farthest_m * mass / (math.sqrt(moment @ moment) + 1e-300))
    second = np.outer(moment, moment) / mass
    if mass > POINT * least_kg:
        inertia = parameters[4:][_SYMMETRIC]
        values, axes = np.linalg.eigh(0.5 * np.trace(inertia) * np.eye(3) - inertia - second)
        second += (axes * _positive(values, LEAST_KG_M2)) @ axes.T
    made = np.trace(second) * np.eye(3) - second
    return np.concatenate([[mass], moment, made[_PACKED]])


def _positive(x: Array | float, width: float) -> Array:
    """Smooth positive part: about x where x > width, above 0 everywhere."""
    return np.asarray(0.5 * (x + np.sqrt(np.square(x) + width**2)))
