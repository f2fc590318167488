# SPDX-License-Identifier: Apache-2.0
"""Nominal dynamics of a robot with a vector as position, from three expressions: M(q), f(q, v) and B(q).

    M v̇ + h = B u,    h = Ṁ v - ½ ∂(vᵀ M v)/∂q - f

f is the generalised force of gravity, springs and damping. The momentum form follows:

    p = M v,    ṗ = B u + β,    β = ½ ∂(vᵀ M v)/∂q + f
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import casadi as ca
import numpy as np
from numpy.typing import NDArray

from metarl_robot.compile.compiled import NumpyFunction, compile_functions
from metarl_robot.compile.knots import Knots, compile_knots, in_chunks
from metarl_robot.dynamics.momentum_balance import Balanced, Expected, balance_function

Array = NDArray[np.float64]

_CHUNK = 64
_NOTHING: Array = np.zeros(0)


class Equations(NamedTuple):
    """Equations of motion as CasADi expressions: M(q) (n, n), f(q, v) (n,) and B(q) (n, nu)."""

    mass: Callable[[ca.SX], ca.SX]
    force: Callable[[ca.SX, ca.SX], ca.SX]
    input_map: Callable[[ca.SX], ca.SX]


class EuclideanPosition:
    """Mixin for dynamics: the position q (n,) is a vector, v = q̇, and there is no accelerometer."""

    def retract(self, q: Array, change: Array) -> Array:
        """Position q ⊞ δ (n,) = q + δ."""
        return q + change

    def expected(self, q: Array, change: Array, measured: Array) -> Expected:
        """Expected measurement at q ⊞ δ."""
        there = q + change
        return there, measured - there, None


class EuclideanDynamics(EuclideanPosition, Balanced):
    """Dynamics of n coordinates and nu inputs, without an attached body. Not to be shared between threads."""

    def __init__(self, n: int, nu: int, equations: Equations) -> None:
        self.dof, self.nu = n, nu
        single, many = _functions(n, equations)
        compiled = compile_functions(single)
        self._momentum = NumpyFunction(compiled["momentum"])
        self._input_map = NumpyFunction(compiled["input_map"])
        self._take_balance(compiled["balance"])
        self._many = compile_knots({name: Knots(function, _CHUNK) for name, function in many.items()})

    def momentum(self, q: Array, v: Array) -> tuple[Array, Array, Array]:
        """Mass matrix M (n, n), momentum p (n,) and β (n,). Overwritten by the next call."""
        mass, momentum, beta = self._momentum(q, v, _NOTHING)
        return mass, momentum, beta

    def momenta(self, q: Array, v: Array) -> tuple[Array, Array, Array]:
        """Results of `momentum` for (N, n) states: (N, n, n), (N, n), (N, n)."""
        mass, momentum, beta = in_chunks(self._many["momenta"], _CHUNK, q, v)
        return mass, momentum, beta

    def mass_matrix(self, q: Array) -> Array:
        """Mass matrix M (n, n)."""
        return self._momentum(q, np.zeros(self.dof), _NOTHING)[0].copy()

    def bias(self, q: Array, v: Array) -> Array:
        """Bias force h (n,)."""
        return self.required_force(q[None], v[None], np.zeros((1, self.dof)))[0]

    def required_force(self, q: Array, v: Array, a: Array) -> Array:
        """Generalised force M a + h (N, n) for states (N, n)."""
        return in_chunks(self._many["required_force"], _CHUNK, q, v, a)[0]

    def input_map(self, q: Array) -> Array:
        """Input map B (n, nu). Overwritten by the next call."""
        return self._input_map(q)[0]

    def input_forces(self, q: Array, effort: Array) -> Array:
        """Generalised forces B u (N, n) of efforts (N, nu)."""
        return in_chunks(self._many["input_forces"], _CHUNK, q, effort)[0]


def _functions(n: int, equations: Equations) -> tuple[dict[str, ca.Function], dict[str, ca.Function]]:
    """Functions of one state, and of many states."""
    q, v, a = (ca.SX.sym(name, n) for name in "qva")
    mass, force, input_map = equations.mass(q), equations.force(q, v), equations.input_map(q)
    p, attached, u = mass @ v, ca.SX.sym("attached", 0), ca.SX.sym("u", input_map.size2())
    beta = ca.gradient(0.5 * ca.dot(v, p), q) + force
    momentum = _function("momentum", [q, v, attached], mass, p, beta)
    single = {
        "momentum": momentum,
        "input_map": _function("input_map", [q], input_map),
        "balance": balance_function(momentum, lambda q, change: q + change, equations.input_map),
    }
    many = {
        "momenta": _function("momenta", [q, v], mass, p, beta),
        "required_force": _function("required_force", [q, v, a], mass @ a + ca.jtimes(p, q, v) - beta),
        "input_forces": _function("input_forces", [q, u], input_map @ u),
    }
    return single, many


def _function(name: str, arguments: list[ca.SX], *results: ca.SX) -> ca.Function:
    return ca.Function(name, arguments, [ca.densify(ca.SX(result)) for result in results])
