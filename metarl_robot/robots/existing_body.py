# SPDX-License-Identifier: Apache-2.0
"""The rigid body that can exist nearest to ten estimated inertial parameters.

A body of mass m, first moment h and inertia I exists if m >= 0 and its second moment about the centre of mass,

    Σ_c = ½ tr(I) 1 - I - h hᵀ / m,

is positive semidefinite: the pseudo-inertia of Wensing, Kim, Slotine, RA-L 2018. Estimates violate this by noise. The
mass is kept, or zero; the centre of mass is brought within `reach_m`; if Σ_c is not positive semidefinite, its diagonal
remains, as far as it is positive.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.signals import Context
from metarl_robot.robots.payload import PAYLOAD_NAMES

Array = NDArray[np.float64]


def existing_body(parameters: Array, reach_m: float) -> Array:
    """Parameters (10,) = (m, h (3,), I_xx, I_yy, I_zz, I_xy, I_xz, I_yz) of a body that exists.

    reach_m: greatest distance of its centre of mass from the point to which the parameters refer. Scalars take a
    quarter of the time of arrays of this size.
    """
    mass, hx, hy, hz, xx, yy, zz, xy, xz, yz = parameters.tolist()
    if not mass > 0.0:
        return np.zeros(10)
    share = min(1.0, reach_m * mass / max(math.sqrt(hx * hx + hy * hy + hz * hz), 1e-12))
    hx, hy, hz = share * hx, share * hy, share * hz
    half = 0.5 * (xx + yy + zz)
    a, b, c = half - xx - hx * hx / mass, half - yy - hy * hy / mass, half - zz - hz * hz / mass
    d, e, f = -xy - hx * hy / mass, -xz - hx * hz / mass, -yz - hy * hz / mass
    if share == 1.0 and _positive(a, b, c, d, e, f):
        return parameters
    a, b, c = max(a, 0.0) + hx * hx / mass, max(b, 0.0) + hy * hy / mass, max(c, 0.0) + hz * hz / mass
    products = (-hx * hy / mass, -hx * hz / mass, -hy * hz / mass)
    return np.array([mass, hx, hy, hz, b + c, a + c, a + b, *products])


def _positive(a: float, b: float, c: float, d: float, e: float, f: float) -> bool:
    """Whether [[a, d, e], [d, b, f], [e, f, c]] is positive semidefinite: no principal minor is negative."""
    least = -1e-12 * (a + b + c) ** 2
    minors = (a * b - d * d, a * c - e * e, b * c - f * f)
    whole = a * minors[2] - d * (d * c - f * e) + e * (d * f - b * e)
    return min(a, b, c) >= 0.0 and min(minors) >= least and whole >= least * abs(a + b + c)


def with_existing_payload(context: Context, reach_m: float) -> Context:
    """The context with a payload that can exist, if it has one."""
    try:
        start = context.names.index(PAYLOAD_NAMES[0])
    except ValueError:
        return context
    entries = slice(start, start + len(PAYLOAD_NAMES))
    if context.names[entries] != PAYLOAD_NAMES:
        return context
    mean = context.mean.copy()
    mean[entries] = existing_body(mean[entries], reach_m)
    return replace(context, mean=mean)
