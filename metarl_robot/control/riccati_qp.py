# SPDX-License-Identifier: Apache-2.0
"""Quadratic programme of an MPC with bounded inputs, solved exactly by Riccati sweeps.

    min Σ_k ½ |e_k + δx_k|²_Q + ½ |w_k + δu_k|²_R  +  ½ |e_N + δx_N|²_P
    s.t. δx_{k+1} = A_k δx_k + B_k δu_k + c_k,  δx_0 = 0,   lower_k <= δu_k <= upper_k

Inputs known to be at a bound are eliminated. One backward and one forward sweep then give the optimum of the others,
and the gradient by the eliminated ones (Rao, Wright, Rawlings, J. Optim. Theory Appl. 1998). Block principal pivoting
finds the inputs at a bound (Júdice, Pires, Comput. Oper. Res. 1994): it fixes inputs beyond a bound and frees those
that the gradient pulls away from it. It changes all of them at once while that helps, else only the first, which
always terminates. At the end the optimality conditions hold and the solution is exact. Most steps have no input at a
bound and take one sweep. The code is C (riccati.c); without a compiler, numpy does the same, slower.
"""

from __future__ import annotations

import ctypes
from typing import Any, NamedTuple

import casadi as ca
import numpy as np
from numpy.typing import NDArray

from metarl_robot.compile.kernel import Kernel, kernel
from metarl_robot.dynamics.linearised import Linearised

Array = NDArray[np.float64]

MAX_ROUNDS = 40
PATIENCE = 3
"""Rounds that may change all inputs at once without reducing the wrong ones, before one is changed per round."""
_TOLERANCE = 1e-9
"""Tolerance of a bound, relative to the range of the bounds; of the gradient, relative to the inputs' weight."""


class Weights(NamedTuple):
    """Weights of the cost: Q (n,) and R (m,) diagonal; P (n, n)."""

    state: Array
    input: Array
    terminal: Array


class Solution(NamedTuple):
    """Solution δx (N + 1, n), δu (N, m).

    optimal: the optimality conditions hold. If not, δu is still within the bounds. Overwritten by the next call.
    """

    states: Array
    inputs: Array
    optimal: bool


class RiccatiQP:
    """Solver for one size and sparsity.

    Arguments:
        horizon: N.
        weights: of the cost.
        by_state, by_input: sparsity of A (n, n) and B (n, m). `solve` takes their non-zeros in column order.
        in_c: use the C code if there is a compiler.
    """

    def __init__(
        self, horizon: int, weights: Weights, by_state: ca.Sparsity, by_input: ca.Sparsity, in_c: bool = True
    ) -> None:
        n, m = by_input.shape
        self._weights = Weights(*(np.ascontiguousarray(x, dtype=np.float64) for x in weights))
        self._places = _places(by_state), _places(by_input)
        self._active = np.zeros((horizon, m), dtype=np.int8)
        self._states, self._inputs = np.zeros((horizon + 1, n)), np.zeros((horizon, m))
        sizes = {"HORIZON": horizon, "N": n, "M": m, "NNZ_A": by_state.nnz(), "NNZ_B": by_input.nnz()}
        rules = {"MAX_ROUNDS": MAX_ROUNDS, "PATIENCE": PATIENCE, "TOLERANCE": _TOLERANCE}
        self._library = kernel("control", "riccati", **sizes, **rules) if in_c else None
        self._problem = tuple(np.zeros((horizon, m)) for _ in range(3))
        self._constants = (np.concatenate(self._places).astype(np.int32), *self._weights)
        arrays: list[NDArray[Any]] = [*self._constants, *self._problem, self._active, self._states, self._inputs]
        self._addresses = tuple(ctypes.c_void_p(x.ctypes.data) for x in arrays)
        self._viewed = Linearised(*(np.empty(0) for _ in range(4)))

    def reset(self) -> None:
        """Discard the active set."""
        self._active[:] = 0

    def solve(self, linear: Linearised, offsets: Array, lower: Array, upper: Array) -> Solution:
        """Solve the programme; offsets: w (N, m), lower, upper: (N, m)."""
        rounds = (self._pivot if self._library is None else self._call)(linear, offsets, lower, upper)
        if not rounds:
            self.reset()
            np.clip(self._inputs, lower, upper, out=self._inputs)
        return Solution(self._states, self._inputs, bool(rounds))

    def _call(self, linear: Linearised, *problem: Array) -> int:
        assert self._library is not None
        if any(new is not known for new, known in zip(linear, self._viewed, strict=True)):
            self._viewed = linear
            self._views = _views(self._library, linear)
        for own, given in zip(self._problem, problem, strict=True):
            own[...] = given
        rounds: int = self._library.solve(self._views, *self._addresses)
        return rounds

    def _pivot(self, linear: Linearised, offsets: Array, lower: Array, upper: Array) -> int:
        """Number of sweeps, or 0, as `solve` in riccati.c."""
        active, fewest, patience = self._active, self._active.size + 1, PATIENCE
        slack = _TOLERANCE * (upper - lower)
        for round_ in range(1, MAX_ROUNDS + 1):
            gradient = self._sweep(linear, offsets, np.where(active > 0, upper, lower))
            beyond = (self._inputs > upper + slack).astype(np.int8) - (self._inputs < lower - slack)
            pulled_away = gradient * active > _TOLERANCE * self._weights.input
            wrong = np.where(active != 0, pulled_away, beyond != 0)
            count = int(np.count_nonzero(wrong))
            if count == 0:
                return round_
            patience = PATIENCE if count < fewest else patience - 1
            fewest = min(fewest, count)
            if patience < 0:
                wrong.flat[np.flatnonzero(wrong)[1:]] = False
            active[:] = np.where(wrong, np.where(active != 0, 0, beyond), active)
        return 0

    def _sweep(self, linear: Linearised, offsets: Array, values: Array) -> Array:
        """Find the optimum with the active inputs fixed at `values` (N, m).

        Returns the gradient (N, m) by all inputs.
        """
        horizon, m = self._inputs.shape
        n = self._states.shape[1]
        a, b = np.zeros((horizon, n * n)), np.zeros((horizon, n * m))
        a[:, self._places[0]], b[:, self._places[1]] = linear.by_state, linear.by_input
        a, b = a.reshape(-1, n, n), b.reshape(-1, n, m)
        q, r, cost = self._weights
        slope = cost @ linear.errors[-1]
        stages = []
        for k in reversed(range(horizon)):
            free = self._active[k] == 0
            ahead, by_cost = slope + cost @ linear.defects[k], b[k].T @ cost
            g_u, g_x, g = by_cost @ b[k] + np.diag(r), by_cost @ a[k], b[k].T @ ahead + r * offsets[k]
            gain, step = np.zeros((m, n)), np.where(free, 0.0, values[k])
            inverse = np.linalg.inv(g_u[np.ix_(free, free)])
            gain[free], step[free] = -inverse @ g_x[free], -inverse @ (g + g_u @ step)[free]
            cost, slope = (
                np.diag(q) + a[k].T @ cost @ a[k] + g_x.T @ gain,
                q * linear.errors[k] + a[k].T @ ahead + g_x.T @ step,
            )
            stages.append((gain, step, g_u, g_x, g))
        gradient, self._states[0] = np.empty((horizon, m)), 0.0
        for k, (gain, step, g_u, g_x, g) in enumerate(reversed(stages)):
            self._inputs[k] = gain @ self._states[k] + step
            gradient[k] = g_u @ self._inputs[k] + g_x @ self._states[k] + g
            self._states[k + 1] = a[k] @ self._states[k] + b[k] @ self._inputs[k] + linear.defects[k]
        return gradient


def _views(library: Kernel, linear: Linearised) -> ctypes.Array[Any]:
    """Views of the arrays for riccati.c, in any memory layout."""
    views = [library.struct("view", at=x.ctypes.data, knot=x.strides[0] // 8, entry=x.strides[1] // 8) for x in linear]
    return (type(views[0]) * len(views))(*views)


def _places(sparsity: ca.Sparsity) -> NDArray[np.intp]:
    """Row-major positions in the matrix of its non-zeros in column order."""
    rows, columns = sparsity.get_triplet()
    return np.asarray(rows) * sparsity.size2() + np.asarray(columns)
