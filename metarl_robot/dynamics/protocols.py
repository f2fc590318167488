# SPDX-License-Identifier: Apache-2.0
"""Protocols of a robot's nominal dynamics M v̇ + h = B u, as used by common code.

A kind of robot names its class (core/robot.py: Robot.dynamics).
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from metarl_robot.dynamics.momentum_balance import Balance, Expected

Array = NDArray[np.float64]


class Dynamics(Protocol):
    """Dynamics for an estimator; q (nq,), v (n,), n = dof.

    attached: number k of parameters of an attached body, in which its momentum is linear; 0: the robot carries none.
    Dynamics with k > 0 also define `attached_forces(q, v, a, effort, attached)`: (N, n), the generalised forces that
    stand for the parameters in the nominal equation of motion at N states.
    """

    dof: int
    nu: int
    attached: int

    def momentum(self, q: Array, v: Array) -> tuple[Array, Array, Array]:
        """Mass matrix M (n, n), momentum p (n,) and β (n,). Overwritten by the next call."""
        ...

    def balance(self, q: Array, v_0: Array, v_1: Array, dt: float, attached: Array, effort: Array) -> Balance:
        """Momentum balance from (q, v_0) to a velocity v_1; attached: (k,); effort: (nu,) that acts.

        Dynamics that are not linear in efforts are linearised about `effort`. Overwritten by the next call.
        """
        ...

    def input_map(self, q: Array) -> Array:
        """Input map B (n, nu): generalised force of unit efforts. Overwritten by the next call."""
        ...

    def retract(self, q: Array, change: Array) -> Array:
        """Position q ⊞ δ."""
        ...

    def expected(self, q: Array, change: Array, measured: Array) -> Expected:
        """Expected measurement at q ⊞ δ. All but the pose is overwritten by the next call."""
        ...


class JointDynamics(Dynamics, Protocol):
    """Dynamics of a robot with a fixed base, with M and h available directly."""

    def mass_matrix(self, q: Array) -> Array:
        """Mass matrix M (n, n) without attached body."""
        ...

    def bias(self, q: Array, v: Array) -> Array:
        """Bias force h (n,): Coriolis, centrifugal, gravity, nominal damping."""
        ...


class CarryingDynamics(JointDynamics, Protocol):
    """Dynamics of a robot that carries a body with ten inertial parameters."""

    def attached_regressor(self, q: Array, v: Array, a: Array) -> Array:
        """Regressor Y (n, 10): a body π adds Y π to the inverse dynamics. Overwritten by the next call."""
        ...
