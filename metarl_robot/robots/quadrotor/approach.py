# SPDX-License-Identifier: Apache-2.0
"""A feasible approach for a quadrotor that is far from its reference, or much faster or slower.

A plan that heads straight for a target metres away saturates tilt and thrust, has no authority left to turn back, and
may tip over. The approach starts at the present position and velocity. From knot to knot, a time h apart:

    a = sat((v_g + s(p_g - p) - v) / T),     v ← v + h a,     p ← p + h v + h² a / 2

The horizontal and the vertical direction are computed separately, so that height does not wait for the rest. v_g is the
target's velocity (bounded); s(d) is the speed from which half of the allowed acceleration stops within d. Positions are
shifted by up to `LEAD_M` along a, so that the position error still acts where the model is wrong.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.signals import Setpoints
from metarl_robot.robots.quadrotor.description import GRAVITY_M_S2, Quadrotor

Array = NDArray[np.float64]

SIDE_M_S2, LIFT_M_S2 = 0.3 * GRAVITY_M_S2, 0.12 * GRAVITY_M_S2
"""Accelerations that a loaded quadrotor still has in reserve: horizontal, vertical."""
SPEED_SHARE = (0.25, 0.1)
"""Greatest closing speed, share of the speed limit: horizontal, vertical."""
DRIFT_SHARE = 0.5
"""Greatest target velocity that is followed, share of the speed limit."""
RESPONSE_S = 0.3
LEAD_M = 0.2


@dataclass
class _Axis:
    """One direction: offset (n,) from here to the goal, speed (n,) relative to it, limits of speed and acceleration."""

    off: Array
    speed: Array
    fastest: float
    strongest: float

    def wanted(self) -> Array:
        """Velocity (n,) towards the goal."""
        distance = math.sqrt(self.off @ self.off)
        slack = 0.5 * self.strongest * RESPONSE_S
        pace = math.sqrt(self.strongest * distance + slack**2) - slack
        return self.off * (min(pace, self.fastest) / max(distance, 1e-9))

    def advance(self, step_s: float) -> Array:
        """Advance by one step and return its acceleration (n,)."""
        a = (self.wanted() - self.speed) / RESPONSE_S
        size = math.sqrt(a @ a)
        a *= min(1.0, self.strongest / max(size, 1e-9))
        self.off = self.off - step_s * self.speed - 0.5 * step_s**2 * a
        self.speed = self.speed + step_s * a
        return a


class FlightApproach:
    """See the module's docstring.

    Arguments:
        robot: the quadrotor.
        spacing_s: time between knots [s].
        reach_m: distance within which the plan heads straight for the reference, at zero relative velocity [m].
        reach_speed: the same for the relative velocity at zero distance, share of the speed limit. In between, the
            squares add up.
    """

    def __init__(self, robot: Quadrotor, spacing_s: float, reach_m: float, reach_speed: float) -> None:
        self._limit = float(robot.velocity_limit[0])
        self._spacing_s, self._reach_m, self._reach_m_s = spacing_s, reach_m, reach_speed * self._limit

    def to(self, here: Array, target: Setpoints) -> Setpoints:
        """Return the target at N + 1 knots, or the approach to it where the state `here` (≥ 10,) is too far away."""
        off, speed = target.q[0, :3] - here[:3], here[7:10] - target.v[0, :3]
        if (off @ off) / self._reach_m**2 + (speed @ speed) / self._reach_m_s**2 <= 1.0:
            return target
        drift = target.v[0, :3].copy()
        drift *= min(1.0, DRIFT_SHARE * self._limit / max(math.sqrt(drift @ drift), 1e-9))
        return self._way(target, off, here[7:10] - drift, drift)

    def _way(self, target: Setpoints, off: Array, speed: Array, drift: Array) -> Setpoints:
        side = _Axis(off[:2], speed[:2], SPEED_SHARE[0] * self._limit, SIDE_M_S2)
        lift = _Axis(off[2:], speed[2:], SPEED_SHARE[1] * self._limit, LIFT_M_S2)
        q, v, a = target.q.copy(), np.zeros_like(target.v), np.zeros_like(target.a)
        goal = target.q[0, :3].copy()
        for k in range(len(q)):
            q[k, :3] = goal - np.concatenate([side.off, lift.off])
            v[k, :3] = drift + np.concatenate([side.speed, lift.speed])
            a[k, :3] = np.concatenate([side.advance(self._spacing_s), lift.advance(self._spacing_s)])
            goal += self._spacing_s * drift
        q[:, :3] += LEAD_M * a[:, :3] / [SIDE_M_S2, SIDE_M_S2, LIFT_M_S2]
        return Setpoints(q, v, a)
