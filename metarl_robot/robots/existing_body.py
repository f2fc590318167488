# SPDX-License-Identifier: Apache-2.0
"""The rigid body that can exist nearest to ten estimated inertial parameters.

A body of mass m, first moment h and inertia I exists if m >= 0 and its second moment about the centre of mass,

    Σ_c = ½ tr(I) 1 - I - h hᵀ / m,

is positive semidefinite: the pseudo-inertia of Wensing, Kim, Slotine, RA-L 2018. Estimates violate this by noise. The
mass is kept, or zero; the centre of mass is brought within `reach_m`; negative eigenvalues of Σ_c become zero.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.signals import Context
from metarl_robot.robots.payload import PAYLOAD_NAMES

Array = NDArray[np.float64]


def existing_body(parameters: Array, reach_m: float) -> Array:
    """Parameters (10,) = (m, h (3,), I_xx, I_yy, I_zz, I_xy, I_xz, I_yz) of a body that exists.

    reach_m: greatest distance of its centre of mass from the point to which the parameters refer.
    """
    mass = float(parameters[0])
    if not mass > 0.0:
        return np.zeros(10)
    centre = parameters[1:4] / mass
    distance = float(np.linalg.norm(centre))
    centre = centre * min(1.0, reach_m / max(distance, 1e-12))
    point = mass * np.outer(centre, centre)
    inertia = _matrix(parameters[4:])
    values, vectors = np.linalg.eigh(0.5 * np.trace(inertia) * np.eye(3) - inertia - point)
    second = (vectors * np.maximum(values, 0.0)) @ vectors.T + point
    whole = np.trace(second) * np.eye(3) - second
    moments = [whole[0, 0], whole[1, 1], whole[2, 2], whole[0, 1], whole[0, 2], whole[1, 2]]
    return np.array([mass, *(mass * centre), *moments])


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


def _matrix(entries: Array) -> Array:
    xx, yy, zz, xy, xz, yz = entries
    return np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
