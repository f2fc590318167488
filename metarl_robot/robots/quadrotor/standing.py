# SPDX-License-Identifier: Apache-2.0
"""A quadrotor that stands on the ground does not learn from the ground's force.

The rotors produce a vertical force F = Σ thrusts, world axis z. In flight F = m a_z + F_0, where F_0 changes slowly; it
is the mean of F - m a_z over BORNE_S. At rest, F can fall below F_0 only if something else supports the quadrotor: in
the air, a share STANDS_BELOW of F_0 would move it at 0.2 m/s after REST_S.

A filter attributes that force to weak rotors, a lighter payload or a disturbance. Control then reduces the thrust, the
ground carries more, and so on: an x500 with a landing reference 8 mm below the ground had rotor strengths of -1 after a
second and tipped over at take-off. While the quadrotor stands, the filter therefore follows the measurements with the
earlier model. Standing ends when the quadrotor moves, or when its rotors produce more than F_0. At the start F_0 is the
nominal weight, so that nothing is learned on the ground before take-off either.
"""

from __future__ import annotations

from math import exp

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.filter_algebra import Belief
from metarl_robot.adaptation.momentum_filter import MomentumFilter
from metarl_robot.adaptation.wrapped import WrappedAdapter
from metarl_robot.core.signals import Context, State
from metarl_robot.robots.quadrotor.description import GRAVITY_M_S2, Quadrotor

Array = NDArray[np.float64]

BORNE_S, SMOOTH_S = 0.5, 0.05
"""Memory of F_0, and of the tested thrust and velocity."""
STANDS_BELOW, FLIES_ABOVE = 0.8, 1.05
"""Shares of F_0: a quadrotor at rest stands below the first, and flies above the second."""
REST_M_S, REST_RAD_S, REST_S = 0.05, 0.15, 0.1
"""A quadrotor is at rest if it is slower than this speed for this time."""
PACE_AT_REST = 0.1
"""After BORNE_S at rest, F_0 and the earlier model are updated more slowly by this factor.

On the ground thrust can fall as slowly as by 15 % in 0.5 s (crazyflie).
"""
KEPT_S = 0.5
"""The earlier model is one to two times this old."""


class StandingGuard(WrappedAdapter[MomentumFilter]):
    """Adapter: a momentum filter that does not learn while the quadrotor stands.

    standing: whether it stands. Other attributes are those of the filter `inner`.
    """

    def __init__(self, robot: Quadrotor, inner: MomentumFilter) -> None:
        self.inner, self._robot, self._mass_kg = inner, robot, robot.mass_kg
        self._forget()

    def reset(self) -> None:
        self.inner.reset()
        self._forget()

    def continue_from(self, earlier: StandingGuard) -> bool:
        """See MomentumFilter."""
        inner = self.inner
        if not inner.continue_from(earlier.inner):
            return False
        vars(self).update({**vars(earlier), "inner": inner})
        return True

    def _forget(self) -> None:
        self.standing, self._rest_s, self._kept_s = False, 0.0, 0.0
        self._kept: list[tuple[Belief, float]] = []
        self._borne_n = self._thrust_n = self._mass_kg * GRAVITY_M_S2
        self._last: Array | None = None  # measured velocity (6,)
        self._v = np.zeros(6)

    def update(self, state: State, effort: Array, dt: float) -> Context:
        self.advance(state, effort, dt)
        return self.inner.context

    def advance(self, state: State, effort: Array, dt: float) -> None:
        self._judge(state, effort, dt)
        if self.standing:
            self.inner.follow(state, effort, dt)
        else:
            self._keep(dt)
            self.inner.advance(state, effort, dt)

    def _judge(self, state: State, effort: Array, dt: float) -> None:
        """Check whether the quadrotor stands; when it begins to, return to the earlier model."""
        share = 1.0 - exp(-dt / SMOOTH_S)
        thrust_n = _upward(state.q[3:]) * self._robot.collective(effort)
        self._thrust_n += share * (thrust_n - self._thrust_n)
        self._v = self._v + share * (state.v - self._v)
        if not self._at_rest() or self._thrust_n > FLIES_ABOVE * self._borne_n:
            self.standing, self._rest_s = False, 0.0
        self._rest_s += dt
        if not self.standing and self._rest_s > REST_S and self._thrust_n < STANDS_BELOW * self._borne_n:
            self.standing = True
            self._return()
        self._weigh(state.v, thrust_n, dt)

    @property
    def _pace(self) -> float:
        """Pace at which F_0 and the kept models are updated: slow at rest, where flight cannot be confirmed."""
        return PACE_AT_REST if self._rest_s > BORNE_S else 1.0

    def _at_rest(self) -> bool:
        speed, rate = self._v[:3] @ self._v[:3], self._v[3:] @ self._v[3:]
        return bool(speed < REST_M_S * REST_M_S and rate < REST_RAD_S * REST_RAD_S)

    def _weigh(self, v: Array, thrust_n: float, dt: float) -> None:
        """Process the force that the rotors produce in flight."""
        if self._last is not None and not self.standing:
            borne_n = thrust_n - self._mass_kg * float(v[2] - self._last[2]) / dt
            self._borne_n += (1.0 - exp(-self._pace * dt / BORNE_S)) * (borne_n - self._borne_n)
        self._last = v

    def _keep(self, dt: float) -> None:
        self._kept_s -= self._pace * dt
        if self._kept_s <= 0.0:
            self._kept_s, self._kept = KEPT_S, [*self._kept[-1:], (self.inner.belief.copy(), self._borne_n)]

    def _return(self) -> None:
        """Return to the earlier model and F_0; the ground's force has changed both."""
        if self._kept:
            self._kept = self._kept[:1]
            belief, self._borne_n = self._kept[0]
            self.inner.belief = belief.copy()


def _upward(quaternion: Array) -> float:
    """World z of the rotors' axis."""
    return 1.0 - 2.0 * float(quaternion[1] ** 2 + quaternion[2] ** 2)
