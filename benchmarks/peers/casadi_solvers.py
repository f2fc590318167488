# SPDX-License-Identifier: Apache-2.0
"""CasADi's own solvers on the problems of mpc_problem.py.

Direct multiple shooting with unknowns [x_0 u_0 x_1 u_1 … x_N], gaps before limits.

The setup is the fastest for CasADi: functions of one knot mapped over the knots, compiled to C with their derivatives
with our own compiler flags, called through function buffers without conversions, with primal and dual warm start. The
SQP methods do one iteration with the Gauss-Newton Hessian: a real-time iteration, like ours. IPOPT and FATROP converge
to a modest tolerance, with the better of two Hessians: exact for quadrotors, Gauss-Newton for arms.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import casadi as ca
import numpy as np
from numpy.typing import NDArray

from metarl_robot.benchmarks.mpc_problem import Family, Plan, Problem, input_bounds, limited_bounds
from metarl_robot.compile.compiled import NumpyFunction
from metarl_robot.compile.compiler import compiled
from metarl_robot.core.errors import MetaRLError

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Method:
    """A solver, its options, and its QP solver if it has one."""

    solver: str
    options: Mapping[str, Any]
    qp_solver: str | None = None


TOLERANCE = 1e-4
_IPOPT = {
    "print_level": 0, "sb": "yes", "tol": TOLERANCE, "mu_init": 1e-4, "warm_start_init_point": "yes",
    "warm_start_bound_push": 1e-6,
    "warm_start_slack_bound_push": 1e-6, "warm_start_mult_bound_push": 1e-6,
}  # fmt: skip
_FATROP = {"print_level": 0, "tol": TOLERANCE, "mu_init": 1e-4, "max_iter": 100}
_OSQP = {"verbose": False, "eps_abs": TOLERANCE, "eps_rel": TOLERANCE}


def _sqp(qp_solver: str, **qp_options: Any) -> Method:
    quiet = {"print_header": False, "print_iteration": False, "print_status": False}
    options = {**quiet, "max_iter": 1, "qpsol": qp_solver, "qpsol_options": {"error_on_fail": False, **qp_options}}
    return Method("sqpmethod", options, qp_solver)


METHODS: dict[str, Method] = {
    "IPOPT": Method("ipopt", {"ipopt": _IPOPT}),
    "FATROP": Method("fatrop", {"fatrop": _FATROP, "structure_detection": "auto"}),
    "SQP + OSQP": _sqp("osqp", osqp=_OSQP),
    "SQP + HPIPM": _sqp("hpipm"),
}


def available(method: str) -> bool:
    """Whether this CasADi can load the method's solvers.

    A package that bundles its own CasADi may have replaced the core.
    """
    chosen = METHODS[method]
    return bool(ca.has_nlpsol(chosen.solver) and (chosen.qp_solver is None or ca.has_conic(chosen.qp_solver)))


class CasadiSolver:
    """One method on one family.

    Arguments:
        family: the problems.
        method: one of METHODS.
        tolerance: for IPOPT, replaces the modest one.
        compiled: False, for IPOPT alone: CasADi evaluates the functions, with exact second derivatives; slower.

    Raises:
        MetaRLError: there is no C compiler.
    """

    def __init__(self, family: Family, method: str, tolerance: float | None = None, compiled: bool = True) -> None:
        self._family = family
        chosen = METHODS[method]
        sqp = chosen.solver == "sqpmethod"
        exact = family.limits_inputs and not sqp
        problem = str(_library(family, chosen.solver, exact)) if compiled else _program(family)
        options = {"print_time": False, **chosen.options}
        if tolerance is not None:
            options["ipopt"] = {**_IPOPT, "tol": tolerance, "constr_viol_tol": tolerance}
        if sqp:
            options["hess_lag"] = ca.external("whole_hessian", problem)
        if chosen.solver == "fatrop":
            gaps, limits = np.ones((family.horizon, family.nx)), np.zeros((family.horizon + 1, family.nh))
            options["equality"] = [bool(x) for x in _interleaved(gaps, limits)]
        self._call = NumpyFunction(ca.nlpsol("solver", chosen.solver, problem, options))
        self._multipliers: tuple[Array, Array] | None = None

    def prepared(self, problem: Problem) -> tuple[Array, ...]:
        """Arguments of the solver, without the multipliers."""
        family = self._family
        lower, upper = (np.tile(x, (family.horizon + 1, 1)) for x in (family.states.lower, family.states.upper))
        lower[0] = upper[0] = problem.start
        gaps = np.zeros((family.horizon, family.nx))
        rows = (_interleaved(gaps, h) for h in limited_bounds(family, problem))
        inputs = input_bounds(family, problem)
        guess = _interleaved(problem.guess.states, problem.guess.inputs)
        return (
            guess,
            problem.parameters.ravel(),
            _interleaved(lower, inputs[0]),
            _interleaved(upper, inputs[1]),
            *rows,
        )

    def solve(self, prepared: tuple[Array, ...]) -> Array:
        """Solve the problem; returns the first input (nu,)."""
        on_bounds, on_rows = self._multipliers or (np.zeros(len(prepared[0])), np.zeros(len(prepared[4])))
        self._found, _, _, on_bounds, on_rows, _ = self._call(*prepared, on_bounds, on_rows)
        self._multipliers = on_bounds, on_rows
        return self._found[self._family.nx : self._family.nx + self._family.nu]

    def plan(self) -> Plan:
        """The last plan."""
        nx, nu, horizon = self._family.nx, self._family.nu, self._family.horizon
        stages = self._found[:-nx].reshape(horizon, nx + nu)
        return Plan(np.vstack([stages[:, :nx], self._found[-nx:]]), stages[:, nx:].copy())


def _interleaved(first: Array, second: Array) -> Array:
    """Interleave rows: [a_0 b_0 a_1 b_1 …]; one array may have more rows."""
    common = min(len(first), len(second))
    return np.concatenate(
        [np.hstack([first[:common], second[:common]]).ravel(), first[common:].ravel(), second[common:].ravel()]
    )


def _library(family: Family, solver: str, exact: bool) -> Path:
    """Shared library of the functions that CasADi's solvers call, under the names that they look up."""
    nlp = _program(family)
    first_order = {
        "nlp_f": ["f"],
        "nlp_g": ["g"],
        "nlp_fg": ["f", "g"],
        "nlp_grad_f": ["grad:f:x"] if solver == "fatrop" else ["f", "grad:f:x"],
        "nlp_jac_g": ["g", "jac:g:x"],
        "nlp_jac_fg": ["f", "grad:f:x", "g", "jac:g:x"],
    }
    functions = [nlp, *(nlp.factory(name, ["x", "p"], results) for name, results in first_order.items())]
    dual, lagrangian = ["x", "p", "lam:f", "lam:g"], {"gamma": ["f", "g"]}
    functions += [nlp.factory("nlp_grad", dual, ["f", "g", "grad:gamma:x", "grad:gamma:p"], lagrangian)]
    if solver == "sqpmethod":
        functions += [_gauss_newton(family, "whole_hessian")]
    elif exact:
        results = ["grad:gamma:x", "hess:gamma:x:x"] if solver == "fatrop" else ["triu:hess:gamma:x:x"]
        functions += [nlp.factory("nlp_hess_l", dual, results, lagrangian)]
    else:
        slope = nlp.factory("slope", dual, ["grad:gamma:x"], lagrangian) if solver == "fatrop" else None
        functions += [_gauss_newton(family, "nlp_hess_l", slope)]
    generator = ca.CodeGenerator("program.c", {"verbose": False})
    for function in functions:
        generator.add(function)
    library = compiled(str(generator.dump()))
    if library is None:
        raise MetaRLError("no C compiler")
    return library


def _symbols(family: Family) -> tuple[ca.MX, ca.MX, ca.MX, ca.MX, ca.MX, ca.MX]:
    """All unknowns w and parameters p, with their parts x_0 … x_{N-1}, u (·, N), x_N (nx,), p (np, N + 1)."""
    n, nx, nu, parameters = family.horizon, family.nx, family.nu, family.np
    w, p = ca.MX.sym("x", n * (nx + nu) + nx), ca.MX.sym("p", parameters * (n + 1))
    stages = ca.reshape(w[: n * (nx + nu)], nx + nu, n)
    return w, p, stages[:nx, :], stages[nx:, :], w[n * (nx + nu) :], ca.reshape(p, parameters, n + 1)


def _program(family: Family) -> ca.Function:
    n = family.horizon
    w, p, x, u, x_end, at = _symbols(family)
    gaps = ca.horzcat(x[:, 1:], x_end) - family.step.map(n)(x, u, at[:, :n])
    rows = ca.vec(ca.vertcat(gaps, family.limited.map(n)(x, u, at[:, :n])) if family.nh else gaps)
    end = family.limited_at_end()(x_end, at[:, n]) if family.nh else ca.MX(0, 1)
    cost = ca.sum2(family.stage_cost().map(n)(x, u, at[:, :n])) + family.end_cost()(x_end, at[:, n])
    return ca.Function("nlp", [w, p], [cost, ca.vertcat(rows, end)], ["x", "p"], ["f", "g"])


def _gauss_newton(family: Family, name: str, slope: ca.Function | None = None) -> ca.Function:
    """Hessian without the curvature of errors, dynamics and limits.

    For IPOPT it is the upper triangle; for FATROP, `slope` (the Lagrangian's gradient) comes before it.
    """
    n = family.horizon
    x, _, p = family.symbols()
    by_x = ca.jacobian(family.error(x, p), x)
    stage = ca.Function("stage", [x, p], [ca.densify(by_x.T @ ca.diag(ca.DM(family.weights.state)) @ by_x)])
    end = ca.Function("end", [x, p], [ca.densify(by_x.T @ ca.DM(family.weights.terminal) @ by_x)])
    w, parameters, states, _, x_end, at = _symbols(family)
    blocks, of_inputs = (
        ca.horzsplit(stage.map(n)(states, at[:, :n]), family.nx),
        ca.MX(ca.diag(ca.DM(family.weights.input))),
    )
    whole = ca.diagcat(*(part for block in blocks for part in (block, of_inputs)), end(x_end, at[:, n]))
    arguments = [w, parameters, ca.MX.sym("lam_f"), ca.MX.sym("lam_g", n * (family.nx + family.nh) + family.nh)]
    hessian = arguments[2] * whole
    names = ["x", "p", "lam_f", "lam_g"]
    if slope is not None:
        return ca.Function(name, arguments, [slope(*arguments), hessian], names, ["grad_gamma_x", "hess_gamma_x_x"])
    if name == "nlp_hess_l":
        return ca.Function(name, arguments, [ca.triu(hessian)], names, ["triu_hess_gamma_x_x"])
    return ca.Function(name, arguments, [hessian], names, ["hess"])
