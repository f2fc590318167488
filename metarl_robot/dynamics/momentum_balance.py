# SPDX-License-Identifier: Apache-2.0
"""Momentum balance between two samples, in one call, for estimators.

A robot may carry an attached body with unknown inertia, such as a payload. It enters through k parameters in which
momentum, β and M are linear: ten inertial parameters for a rigid body (rigid_body.py). k = 0: nothing is attached.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import casadi as ca
import numpy as np
from numpy.typing import NDArray

from metarl_robot.compile.compiled import NumpyFunction

Array = NDArray[np.float64]

Retract = Callable[[ca.SX, ca.SX], ca.SX]
InputMap = Callable[[ca.SX], ca.SX]
Expected = tuple[Array, Array, tuple[Array, Array] | None]
"""Expected measurement at a pose.

The pose q (nq,), the error δ (n,) with q ⊞ δ = the measured pose, and with an accelerometer (C (3, n), g (3,)): it
measures C v̇ + g [m/s²; body].
"""


class Balance(NamedTuple):
    """Momentum balance from (q_0, v_0) to a velocity v_1.

    q: (nq,) position at the end.
    mass: (n, n) M at the end, without the attached body.
    deficit: (n,) p_0 - p_1 + ∫β dt, the momentum missing at the end without effort and attached body.
    input_map: (n, nu) B half-way.
    attached_impulse: (n, k) derivative of the deficit by the attached body's parameters.
    attached_inertia: (n, n) contribution of the given attached body to M at the end.
    q_mean, v_mean: (nq,), (n,) means of both ends.
    """

    q: Array
    mass: Array
    deficit: Array
    input_map: Array
    attached_impulse: Array
    attached_inertia: Array
    q_mean: Array
    v_mean: Array


class Balanced:
    """Mixin for dynamics with a momentum balance. attached: k."""

    attached: int

    def _take_balance(self, function: ca.Function) -> None:
        """Set the compiled `balance_function`."""
        self._balance = NumpyFunction(function)
        self.attached = int(function.size1_in(4))

    def balance(
        self, q: Array, v_0: Array, v_1: Array, dt: float, attached: Array, effort: Array | None = None
    ) -> Balance:
        """Momentum balance from (q, v_0) to a velocity v_1, over dt [s]; attached: (k,) parameters.

        It does not depend on the effort (nu,): B u is linear. Overwritten by the next call.
        """
        return Balance(*self._balance(q, v_0, v_1, np.array(dt), attached))


def balance_function(momentum: ca.Function, retract: Retract, input_map: InputMap) -> ca.Function:
    """Build the function `balance` of a robot.

    Arguments:
        momentum: (q, v, attached) -> (M, p, β), affine in the attached body's parameters.
        retract, input_map: q ⊞ δ and B(q).
    """
    nq, n, k = (momentum.size1_in(i) for i in range(3))
    q, v_0, v_1, dt = ca.SX.sym("q", nq), ca.SX.sym("v_0", n), ca.SX.sym("v_1", n), ca.SX.sym("dt")
    attached = ca.SX.sym("attached", k)
    there, half_way = retract(q, 0.5 * dt * (v_0 + v_1)), retract(q, 0.25 * dt * (v_0 + v_1))
    _, p_0, beta_0 = momentum(q, v_0, attached)
    mass, p_1, beta_1 = momentum(there, v_1, attached)
    deficit = p_0 - p_1 + 0.5 * dt * (beta_0 + beta_1)
    impulse, inertia = ca.jacobian(deficit, attached), ca.reshape(ca.jtimes(ca.vec(mass), attached, attached), n, n)
    mass, deficit = (ca.substitute(x, attached, ca.SX.zeros(k)) for x in (mass, deficit))
    results = [there, mass, deficit, input_map(half_way), impulse, inertia, 0.5 * (q + there), 0.5 * (v_0 + v_1)]
    return ca.Function("balance", [q, v_0, v_1, dt, attached], ca.cse([ca.densify(result) for result in results]))
