# SPDX-License-Identifier: Apache-2.0
"""Momentum balance between two samples, in one call, for estimators."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import casadi as ca
import numpy as np
from numpy.typing import NDArray

from metarl_robot.compile.compiled import NumpyFunction
from metarl_robot.dynamics.rigid_body import N_INERTIAL

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
    mass: (n, n) M at the end, without payload.
    deficit: (n,) p_0 - p_1 + ∫β dt, the momentum missing at the end without effort and payload.
    input_map: (n, nu) B half-way.
    payload_impulse: (n, 10) derivative of the deficit by a payload's inertial parameters.
    payload_inertia: (n, n) contribution of the given payload to M at the end.
    q_mean, v_mean: (nq,), (n,) means of both ends.
    """

    q: Array
    mass: Array
    deficit: Array
    input_map: Array
    payload_impulse: Array
    payload_inertia: Array
    q_mean: Array
    v_mean: Array


class Balanced:
    """Mixin for dynamics with a momentum balance."""

    def _take_balance(self, function: ca.Function) -> None:
        """Set the compiled `balance_function`."""
        self._balance = NumpyFunction(function)

    def balance(self, q: Array, v_0: Array, v_1: Array, dt: float, payload: Array) -> Balance:
        """Momentum balance from (q, v_0) to a velocity v_1, over dt [s]; payload: (10,).

        Overwritten by the next call.
        """
        return Balance(*self._balance(q, v_0, v_1, np.array(dt), payload))


def balance_function(momentum: ca.Function, retract: Retract, input_map: InputMap) -> ca.Function:
    """Build the function `balance` of a robot.

    Arguments:
        momentum: (q, v, payload) -> (M, p, β), affine in the payload's inertial parameters.
        retract, input_map: q ⊞ δ and B(q).
    """
    nq, n = momentum.size1_in(0), momentum.size1_in(1)
    q, v_0, v_1, dt = ca.SX.sym("q", nq), ca.SX.sym("v_0", n), ca.SX.sym("v_1", n), ca.SX.sym("dt")
    payload = ca.SX.sym("payload", N_INERTIAL)
    there, half_way = retract(q, 0.5 * dt * (v_0 + v_1)), retract(q, 0.25 * dt * (v_0 + v_1))
    _, p_0, beta_0 = momentum(q, v_0, payload)
    mass, p_1, beta_1 = momentum(there, v_1, payload)
    deficit = p_0 - p_1 + 0.5 * dt * (beta_0 + beta_1)
    impulse, inertia = ca.jacobian(deficit, payload), ca.reshape(ca.jtimes(ca.vec(mass), payload, payload), n, n)
    mass, deficit = (ca.substitute(x, payload, ca.SX.zeros(N_INERTIAL)) for x in (mass, deficit))
    results = [there, mass, deficit, input_map(half_way), impulse, inertia, 0.5 * (q + there), 0.5 * (v_0 + v_1)]
    return ca.Function("balance", [q, v_0, v_1, dt, payload], ca.cse([ca.densify(result) for result in results]))
