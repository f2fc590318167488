"""The quadratic programme of a model-predictive controller with bounded inputs, solved exactly by Riccati sweeps.

    min Σ_k ½ |e_k + δx_k|²_Q + ½ |w_k + δu_k|²_R  +  ½ |e_N + δx_N|²_P
    s.t. δx_{k+1} = A_k δx_k + B_k δu_k + c_k,  δx_0 = 0,   lower_k <= δu_k <= upper_k

Inputs known to be at a bound are eliminated, and one backward and one forward sweep give the optimum of the others, and the
gradient by those that were eliminated (Rao, Wright, Rawlings, J. Optim. Theory Appl. 1998). Which ones are at a bound is found
by block principal pivoting (Júdice, Pires, Comput. Oper. Res. 1994): fix what lies beyond a bound, free what the gradient pulls away
from it, all at once while that helps, else the first alone, which always ends; then the optimality conditions hold and the solution
is exact. Most steps have no input at a bound and take one sweep. The sweeps are generated C that knows the sparsity of A and B.
"""

from __future__ import annotations

from typing import NamedTuple

import casadi as ca
import numpy as np
from numpy.typing import NDArray

from metarl_robot.dynamics.compiled import NumpyFunction, compile_functions
from metarl_robot.dynamics.linearised import Linearised

Array = NDArray[np.float64]

MAX_ROUNDS = 40
PATIENCE = 3
"""Rounds of changing all at once that may fail to leave fewer inputs wrong, before they are changed one by one."""
_TOLERANCE = 1e-9
"""Of a bound, relative to the range between the bounds; of the gradient, to the weight of the inputs."""


class Weights(NamedTuple):
    """Q (n,) and R (m,) diagonal; P (n, n)."""

    state: Array
    input: Array
    terminal: Array


class Solution(NamedTuple):
    """δx (N + 1, n), δu (N, m), and whether the optimality conditions hold; if not, δu is within bounds all the same."""

    states: Array
    inputs: Array
    optimal: bool


class RiccatiQP:
    """See the module's docstring.

    Arguments:
        horizon: N.
        weights: of the cost.
        by_state, by_input: sparsity of A (n, n) and B (n, m). `solve` takes their non-zeros, column by column.
    """

    def __init__(self, horizon: int, weights: Weights, by_state: ca.Sparsity, by_input: ca.Sparsity) -> None:
        self._horizon, (self._n, self._m) = horizon, by_input.shape
        self._weights = weights
        sweep = _sweep(horizon, weights, by_state, by_input)
        self._sweep = NumpyFunction(compile_functions({"sweep": sweep})["sweep"], horizon)
        self._active = np.zeros((horizon, self._m), dtype=np.int8)

    def reset(self) -> None:
        """Forget which bounds were active."""
        self._active[:] = 0

    def solve(self, linear: Linearised, offsets: Array, lower: Array, upper: Array) -> Solution:
        """The optimum; offsets: w (N, m), lower, upper: (N, m)."""
        by_state, by_input, defects, errors = linear
        active, fewest, patience = self._active, self._active.size + 1, PATIENCE
        slack = _TOLERANCE * (upper - lower)
        for _ in range(MAX_ROUNDS):
            fixed = active != 0
            values = np.where(active > 0, upper, lower)
            states, inputs, gradient = self._sweep(by_state, by_input, defects, errors[:-1], errors[1:], offsets, fixed, values)
            beyond = (inputs > upper + slack).astype(np.int8) - (inputs < lower - slack)
            pulled_away = gradient * active > _TOLERANCE * self._weights.input
            wrong = np.where(fixed, pulled_away, beyond != 0)
            count = int(np.count_nonzero(wrong))
            if count == 0:
                self._active = active
                return Solution(states, inputs.copy(), True)
            if count < fewest:
                fewest, patience = count, PATIENCE
            else:
                patience -= 1
            if patience < 0:
                first = np.flatnonzero(wrong)[0]
                wrong = np.zeros_like(wrong)
                wrong.flat[first] = True
            active = np.where(wrong, np.where(fixed, 0, beyond), active).astype(np.int8)
        self.reset()
        return Solution(states, np.clip(inputs, lower, upper), False)


def _sweep(horizon: int, weights: Weights, by_state: ca.Sparsity, by_input: ca.Sparsity) -> ca.Function:
    """(A, B, c, e_0…, e_1…, w, fixed, values), each (·, N) → δx_1… (n, N), δu (m, N), gradient (m, N)."""
    n, m = by_input.shape
    backward, forward = _backward(weights, by_state, by_input), _forward(by_state, by_input)
    sizes = (by_state.nnz(), by_input.nnz(), n, n, n, m, m, m)
    arguments = [ca.MX.sym(f"x{i}", size, horizon) for i, size in enumerate(sizes)]
    stages = list(zip(*(ca.horzsplit(x) for x in arguments), strict=True))
    terminal = ca.DM(weights.terminal)
    cost, slope = ca.MX(terminal[ca.Sparsity.upper(n)].nonzeros()), terminal @ stages[-1][4]
    policies: list[list[ca.MX]] = []
    for a, b, c, error, _, offset, fixed, values in reversed(stages):
        cost, slope, *policy = backward(cost, slope, a, b, c, error, offset, fixed, values)
        policies.append(policy)
    state, results = ca.MX(ca.DM.zeros(n)), []
    for (a, b, c, *_), policy in zip(stages, reversed(policies), strict=True):
        state, *rest = forward(state, a, b, c, *policy)
        results.append((state, *rest))
    return ca.Function("sweep", arguments, [ca.horzcat(*column) for column in zip(*results, strict=True)])


def _backward(weights: Weights, by_state: ca.Sparsity, by_input: ca.Sparsity) -> ca.Function:
    """One stage backward: (P, p) of the cost-to-go ½ δxᵀ P δx + pᵀ δx, and what the forward sweep needs.

    That is the policy δu = K δx + k, and the gradient G_u δu + G_x δx + g by all inputs. P is passed as its upper triangle.
    """
    n, m = by_input.shape
    triangle = ca.Sparsity.upper(n)
    after, a, b = ca.SX.sym("P", triangle.nnz()), ca.SX.sym("A", by_state.nnz()), ca.SX.sym("B", by_input.nnz())
    slope, c, error = (ca.SX.sym(name, n) for name in ("p", "c", "e"))
    offset, fixed, values = (ca.SX.sym(name, m) for name in ("w", "fixed", "values"))
    cost, by_x, by_u = ca.triu2symm(ca.SX(triangle, after)), ca.SX(by_state, a), ca.SX(by_input, b)
    q, r = ca.SX(ca.DM(weights.state)), ca.SX(ca.DM(weights.input))
    ahead, by_cost = slope + cost @ c, by_u.T @ cost
    g_u, g_x, g = by_cost @ by_u + ca.diag(r), by_cost @ by_x, by_u.T @ ahead + r * offset
    free, known = 1 - fixed, fixed * values
    reduced = g_u * (free @ free.T) + ca.diag(fixed)
    solved = _solve(reduced, ca.horzcat(-ca.diag(free) @ g_x, known - free * (g + g_u @ known)))
    gain, step = solved[:, :n], solved[:, n]
    cost_before = ca.diag(q) + by_x.T @ (cost @ by_x) + g_x.T @ gain
    slope_before = q * error + by_x.T @ ahead + g_x.T @ step
    results = [cost_before[triangle].nz[:], slope_before, gain, step, g_u, g_x, g]
    return ca.Function("backward", [after, slope, a, b, c, error, offset, fixed, values], [ca.densify(x) for x in results])


def _forward(by_state: ca.Sparsity, by_input: ca.Sparsity) -> ca.Function:
    """One stage forward: δx_k and its policy → δx_{k+1}, δu_k and the gradient by it."""
    n, m = by_input.shape
    x, a, b, c = ca.SX.sym("x", n), ca.SX.sym("A", by_state.nnz()), ca.SX.sym("B", by_input.nnz()), ca.SX.sym("c", n)
    gain, step, g_u, g_x, g = ca.SX.sym("K", m, n), ca.SX.sym("k", m), ca.SX.sym("Gu", m, m), ca.SX.sym("Gx", m, n), ca.SX.sym("g", m)
    u = gain @ x + step
    after = ca.SX(by_state, a) @ x + ca.SX(by_input, b) @ u + c
    return ca.Function("forward", [x, a, b, c, gain, step, g_u, g_x, g], [ca.densify(after), u, g_u @ u + g_x @ x + g])


def _solve(matrix: ca.SX, right: ca.SX) -> ca.SX:
    """matrix⁻¹ right for a small symmetric positive definite matrix, by Cholesky factors written out."""
    m = matrix.shape[0]
    lower = ca.SX.zeros(m, m)
    for j in range(m):
        lower[j, j] = ca.sqrt(matrix[j, j] - ca.sumsqr(lower[j, :j]))
        for i in range(j + 1, m):
            lower[i, j] = (matrix[i, j] - lower[i, :j] @ lower[j, :j].T) / lower[j, j]
    rows: list[ca.SX] = []
    for i in range(m):
        rows.append((right[i, :] - sum((lower[i, j] * rows[j] for j in range(i)), ca.SX.zeros(1, right.shape[1]))) / lower[i, i])
    for i in reversed(range(m)):
        rows[i] = (rows[i] - sum((lower[j, i] * rows[j] for j in range(i + 1, m)), ca.SX.zeros(1, right.shape[1]))) / lower[i, i]
    return ca.vertcat(*rows)
