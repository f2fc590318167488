# SPDX-License-Identifier: Apache-2.0
"""The way back of a quadrotor that is far from its reference, or much faster or slower: a motion that it can fly.

A plan that heads straight for a target metres away asks for tilt and thrust that leave nothing to turn back with, and
may tip over. This way begins where the quadrotor is and as fast as it is, and from knot to knot, h apart,

    a = sat((v_g + s(p_g - p) - v) / T),     v ← v + h a,     p ← p + h v + h² a / 2

horizontally and vertically each for itself, so that height does not wait for the rest. v_g is the target's velocity
(bounded), s(d) the speed from which half of the allowed acceleration stops within d. Positions lie up to `LEAD_M`
ahead in the direction of a: where the model is wrong, the error still pulls.
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
"""Accelerations that a loaded quadrotor has left: horizontal, vertical."""
SPEED_SHARE = (0.25, 0.1)
"""Of the speed limit, how fast it closes in: horizontally, vertically."""
DRIFT_SHARE = 0.5
"""Of the speed limit, what counts of a target's velocity."""
RESPONSE_S = 0.3
LEAD_M = 0.2


@dataclass
class _Axis:
    """One direction: off (n,) from here to the goal, speed (n,) relative to it; limits of speed and acceleration."""

    off: Array
    speed: Array
    fastest: float
    strongest: float

    def wanted(self) -> Array:
        """(n,) velocity towards the goal."""
        distance = math.sqrt(self.off @ self.off)
        slack = 0.5 * self.strongest * RESPONSE_S
        pace = math.sqrt(self.strongest * distance + slack**2) - slack
        return self.off * (min(pace, self.fastest) / max(distance, 1e-9))

    def advance(self, step_s: float) -> Array:
        """(n,) the acceleration of a step."""
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
        reach_m: so far from its reference it still heads straight for it, as fast as that [m].
        reach_speed: likewise at it, with so great a difference of velocities, share of the speed limit. Between,
            squares add up.
    """

    def __init__(self, robot: Quadrotor, spacing_s: float, reach_m: float, reach_speed: float) -> None:
        self._limit = float(robot.velocity_limit[0])
        self._spacing_s, self._reach_m, self._reach_m_s = spacing_s, reach_m, reach_speed * self._limit

    def to(self, here: Array, target: Setpoints) -> Setpoints:
        """The target at N + 1 knots, or the way to it where here (≥ 10,), the state of a plan, is too far from it."""
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
