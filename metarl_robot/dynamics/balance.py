"""The balance of momentum between two samples, in one call: what an estimator asks of a robot's dynamics."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import casadi as ca
import numpy as np
from numpy.typing import NDArray

from metarl_robot.dynamics.compiled import NumpyFunction
from metarl_robot.dynamics.rigid_body import N_INERTIAL

Array = NDArray[np.float64]

Retract = Callable[[ca.SX, ca.SX], ca.SX]
InputMap = Callable[[ca.SX], ca.SX]


class Balance(NamedTuple):
    """On the way from (q_0, v_0) to a velocity v_1.

    q: (nq,) position at its end; mass: (n, n) M there; deficit: (n,) p_0 - p_1 + ∫β dt, the momentum that is missing there without effort;
    input_map: (n, nu) B half-way.
    """

    q: Array
    mass: Array
    deficit: Array
    input_map: Array


class Balanced:
    """Dynamics that tell the balance of momentum. Results are overwritten by the next call of the same method."""

    def _take_balance(self, functions: Mapping[str, ca.Function]) -> None:
        """The compiled ones of `balance_functions`."""
        self._balance = NumpyFunction(functions["balance"])
        self._payload_impulse = NumpyFunction(functions["payload_impulse"])
        self._payload_inertia = NumpyFunction(functions["payload_inertia"])

    def balance(self, q: Array, v_0: Array, v_1: Array, dt: float) -> Balance:
        """Of momentum on the way from (q, v_0) to a velocity v_1, over dt [s]."""
        return Balance(*self._balance(q, v_0, v_1, np.array(dt)))

    def payload_impulse(self, q_0: Array, v_0: Array, q_1: Array, v_1: Array, dt: float) -> Array:
        """(n, 10) p_0 - p_1 + ∫β dt of each of a payload's inertial parameters."""
        return self._payload_impulse(q_0, v_0, q_1, v_1, np.array(dt))[0]

    def payload_inertia(self, q: Array, payload: Array) -> Array:
        """A payload's share of M (n, n)."""
        return self._payload_inertia(q, payload)[0]


def balance_functions(momentum: ca.Function, retract: Retract, input_map: InputMap) -> dict[str, ca.Function]:
    """Functions `balance`, `payload_impulse` and `payload_inertia` of a robot.

    Arguments:
        momentum: (q, v, payload) -> (M, p, β), affine in the payload's inertial parameters.
        retract, input_map: q ⊞ δ and B(q).
    """
    nq, n = momentum.size1_in(0), momentum.size1_in(1)
    q, v_0, v_1, dt = ca.SX.sym("q", nq), ca.SX.sym("v_0", n), ca.SX.sym("v_1", n), ca.SX.sym("dt")
    q_1, pi = ca.SX.sym("q_1", nq), ca.SX.sym("pi", N_INERTIAL)
    there, none = retract(q, 0.5 * dt * (v_0 + v_1)), ca.SX.zeros(N_INERTIAL)
    _, p_0, beta_0 = momentum(q, v_0, none)
    mass, p_1, beta_1 = momentum(there, v_1, none)
    deficit = p_0 - p_1 + 0.5 * dt * (beta_0 + beta_1)
    half_way = retract(q, 0.25 * dt * (v_0 + v_1))

    _, p_0, beta_0 = momentum(q, v_0, pi)
    _, p_1, beta_1 = momentum(q_1, v_1, pi)
    impulse = ca.jacobian(p_0 - p_1 + 0.5 * dt * (beta_0 + beta_1), pi)
    loaded, _, _ = momentum(q_1, ca.SX.zeros(n), pi)
    return {
        "balance": _function("balance", [q, v_0, v_1, dt], [there, mass, deficit, input_map(half_way)]),
        "payload_impulse": _function("payload_impulse", [q, v_0, q_1, v_1, dt], [impulse]),
        "payload_inertia": _function("payload_inertia", [q_1, pi], [ca.reshape(ca.jtimes(ca.vec(loaded), pi, pi), n, n)]),
    }


def _function(name: str, arguments: list[ca.SX], results: list[ca.SX]) -> ca.Function:
    return ca.Function(name, arguments, ca.cse([ca.densify(result) for result in results]))
