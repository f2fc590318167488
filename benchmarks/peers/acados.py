# SPDX-License-Identifier: Apache-2.0
"""acados on the problems of mpc_problem.py: real-time iteration (SQP_RTI), Gauss-Newton, HPIPM.

The QP is partially condensed. The expressions of a knot become discrete dynamics, non-linear least squares and
non-linear constraints. The solver is generated and built once, into the cache folder. Timed calls of its Python
interface set the start, every knot's parameters and the bounds of the first effort; the guess is set before.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import casadi as ca
import numpy as np
from numpy.typing import NDArray

from metarl_robot.benchmarks.mpc_problem import Family, Plan, Problem
from metarl_robot.compile.code_cache import private_folder
from metarl_robot.compile.compiler import scratch_folder

Array = NDArray[np.float64]

_FLAGS = "-O3 -march=native"


class AcadosSolver:
    """Solver of one family. Raises ImportError if acados is not installed.

    condensed: stages of the partially condensed QP. The default is the fastest of 2, 5, 10 and 20 for quadrotors (5),
    and all stages for arms.
    """

    def __init__(self, family: Family, condensed: int | None = None) -> None:
        self._family = family
        with _quiet(), _environment():
            self._solver = _built(family, condensed or (5 if family.limits_inputs else family.horizon))
        first = ("lbu", "ubu") if family.limits_inputs else ("lh", "uh")
        self._first_lower, self._first_upper = first

    def prepare(self, problem: Problem) -> None:
        """Set the guess (not timed)."""
        for k, x in enumerate(problem.guess.states):
            self._solver.set(k, "x", x)
        for k, u in enumerate(problem.guess.inputs):
            self._solver.set(k, "u", u)

    def solve(self, problem: Problem) -> Array:
        """Solve the problem; returns the first input (nu,)."""
        solver = self._solver
        solver.set(0, "lbx", problem.start)
        solver.set(0, "ubx", problem.start)
        for k, (lower, upper) in enumerate(zip(problem.first.lower, problem.first.upper, strict=True)):
            solver.constraints_set(k, self._first_lower, lower)
            solver.constraints_set(k, self._first_upper, upper)
        for k, p in enumerate(problem.parameters):
            solver.set(k, "p", p)
        self.status = int(solver.solve())
        found: Array = solver.get(0, "u")
        return found

    @property
    def solve_s(self) -> float:
        """Time of the last iteration inside the library [s]."""
        return float(np.sum(self._solver.get_stats("time_tot")))

    def plan(self) -> Plan:
        """The last plan."""
        knots = range(self._family.horizon)
        states = [self._solver.get(k, "x") for k in (*knots, self._family.horizon)]
        return Plan(np.array(states), np.array([self._solver.get(k, "u") for k in knots]))


def _built(family: Family, condensed: int) -> Any:
    from acados.acados_template import AcadosOcpSolver

    ocp = _problem(family, condensed)
    functions = (family.step, family.error, family.offset, family.limited)
    weights = repr([x.tolist() for x in (*family.weights, family.efforts.lower, family.efforts.upper)])
    key = hashlib.sha256(
        "".join([*(f.serialize() for f in functions), weights, _FLAGS, str(condensed), __file__]).encode()
    ).hexdigest()[:16]
    folder = (private_folder() or scratch_folder()) / f"acados_{key}"
    ocp.code_export_directory = str(folder / "code")
    done = (folder / "built").exists()
    folder.mkdir(parents=True, exist_ok=True)
    here = Path.cwd()
    os.chdir(folder)
    try:
        solver = AcadosOcpSolver(
            ocp, json_file=str(folder / "ocp.json"), build=not done, generate=not done, verbose=False
        )
    finally:
        os.chdir(here)
    (folder / "built").touch()
    return solver


def _problem(family: Family, condensed: int) -> Any:
    from acados.acados_template import AcadosModel, AcadosOcp

    x, u, p = family.symbols()
    model = AcadosModel()
    model.name, model.x, model.u, model.p = family.name, x, u, p
    model.disc_dyn_expr = family.step(x, u, p)
    error = family.error(x, p)
    model.cost_y_expr, model.cost_y_expr_e = ca.vertcat(error, u - family.offset(p)), error
    ocp = AcadosOcp()
    ocp.model, ocp.dims.N = model, family.horizon
    ocp.parameter_values = np.zeros(family.np)
    size = len(family.weights.state)
    ocp.cost.cost_type, ocp.cost.cost_type_e = "NONLINEAR_LS", "NONLINEAR_LS"
    ocp.cost.W, ocp.cost.W_e = np.diag([*family.weights.state, *family.weights.input]), family.weights.terminal
    ocp.cost.yref, ocp.cost.yref_e = np.zeros(size + family.nu), np.zeros(size)
    limits = ocp.constraints
    limits.x0 = np.zeros(family.nx)
    if family.limits_inputs:
        limits.lbu, limits.ubu, limits.idxbu = family.inputs.lower, family.inputs.upper, np.arange(family.nu)
    else:
        model.con_h_expr, model.con_h_expr_e = family.limited(x, u, p), family.limited_at_end()(x, p)
        limits.lh, limits.uh = family.efforts.lower, family.efforts.upper
        limits.lh_e, limits.uh_e = family.efforts.lower, family.efforts.upper
        limits.lbx, limits.ubx, limits.idxbx = family.states.lower, family.states.upper, np.arange(family.nx)
        limits.lbx_e, limits.ubx_e, limits.idxbx_e = family.states.lower, family.states.upper, np.arange(family.nx)
    options = ocp.solver_options
    options.tf = float(family.horizon)  # stage costs are multiplied by the step, which is one
    options.integrator_type, options.nlp_solver_type, options.hessian_approx = "DISCRETE", "SQP_RTI", "GAUSS_NEWTON"
    options.qp_solver, options.qp_solver_cond_N = "PARTIAL_CONDENSING_HPIPM", condensed
    options.hpipm_mode, options.qp_solver_warm_start = "SPEED", 1
    options.ext_fun_compile_flags = _FLAGS
    return ocp


@contextmanager
def _environment() -> Iterator[None]:
    """Load the package's libraries and set the variables that it needs for code generation."""
    import acados

    for name in ("libblasfeo.so", "libhpipm.so", "libqpOASES_e.so", "libacados.so"):
        ctypes.CDLL(str(Path(acados.LIB_DIR) / name), mode=ctypes.RTLD_GLOBAL)
    before = dict(os.environ)
    os.environ.update(
        ACADOS_SOURCE_DIR=acados.DIR, TERA_PATH=acados.TERA_PATH, ACADOS_PYTHON_INTERFACE_PATH=acados.TEMPLATE_DIR
    )
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress standard output of the code generator and the compilers, which write to it directly."""
    kept, nothing = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nothing)
