# SPDX-License-Identifier: Apache-2.0
"""A vehicle with a steered axle that is slower than its reference: setpoints that it can reach.

Setpoints that run away from the vehicle draw a plan across bends: at the distance Δs behind its setpoint, a vehicle on
a path of the curvature κ is κ Δs² / 2 beside the setpoint's tangent. From the vehicle's speed w, the path is driven at

    v' = min(v, √(w² + 2 a s))

with the acceleration a that the believed friction allows. The setpoints' acceleration stays the reference's own: a
vehicle that is slower by little, in a bend, has no friction left for more. Of a vehicle that slid off its path, w is
the reference's speed: with slow setpoints it would come back slowly, or in reverse. A skid-steered vehicle is slow
because its tyres resist the turn, and slower setpoints slowed it further: it keeps those of the reference. So does a
vehicle whose speeds are planned anyway (route.py), from its own speed and within the estimated friction.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.signals import Setpoints
from metarl_robot.robots.ground.retimed import retimed

Array = NDArray[np.float64]


def reachable(
    points: Setpoints, spacing_s: float, place: Array, speed_m_s: float, acceleration: float, away_m: float
) -> Setpoints:
    """Setpoints (N, …), spacing_s apart, of a vehicle at a place (2,) with a forward speed; the first one is near it.

    away_m: distance across the path from which on they are the reference's; within half of it, they begin at the
    vehicle's speed. Returns the same object if they are all the reference's.
    """
    speed = np.hypot(points.v[:, 0], points.v[:, 1])
    x, y, yaw = points.q[0]
    across_m = abs(np.cos(yaw) * (place[1] - y) - np.sin(yaw) * (place[0] - x))
    away = float(np.clip(2.0 * across_m / away_m - 1.0, 0.0, 1.0))
    begin = max(speed_m_s, 0.0) + away * max(speed[0] - max(speed_m_s, 0.0), 0.0)
    if begin >= speed[0]:
        return points
    steps = np.maximum(np.hypot(*np.diff(points.q[:, :2], axis=0).T), 1e-9)
    along = np.concatenate([[0.0], np.cumsum(steps)])
    reached = np.sqrt(begin**2 + 2.0 * acceleration * along)
    own = np.diff(np.square(speed)) / (2.0 * steps)
    return retimed(points, spacing_s, steps, np.minimum(speed, reached), own)
