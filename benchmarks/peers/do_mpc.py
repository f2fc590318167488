# SPDX-License-Identifier: Apache-2.0
"""do-mpc on the problems of mpc_problem.py: a discrete model with the same step, solved by IPOPT.

A knot's parameters are time-varying parameters. Limits on efforts are appended to the programme as in its documentation
(`prepare_nlp`, `create_nlp`), also at the last knot. The timed call is `make_step`, with the parameters already in
place as arrays.
"""

from __future__ import annotations

import warnings
from typing import Any

import casadi as ca
import numpy as np
from numpy.typing import NDArray

from metarl_robot.benchmarks.mpc_problem import Family, Plan, Problem, input_bounds, limited_bounds

Array = NDArray[np.float64]

_OPTIONS = {
    "ipopt.print_level": 0, "ipopt.sb": "yes", "print_time": 0, "ipopt.tol": 1e-4, "ipopt.mu_init": 1e-4,
    "ipopt.warm_start_init_point": "yes", "ipopt.warm_start_bound_push": 1e-6,
    "ipopt.warm_start_slack_bound_push": 1e-6,
    "ipopt.warm_start_mult_bound_push": 1e-6,
}  # fmt: skip


class DoMpcSolver:
    """Solver of one family. Raises ImportError if do-mpc is not installed."""

    def __init__(self, family: Family) -> None:
        self._family = family
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about its optional features that are not installed
            import do_mpc
        self._mpc, self._parameters = _controller(do_mpc, family)
        self._mpc.set_initial_guess()

    def prepare(self, problem: Problem) -> None:
        """Set parameters, bounds and guess (not timed)."""
        mpc, family = self._mpc, self._family
        for k, p in enumerate(problem.parameters):
            self._parameters["_tvp", k, "p"] = p
        for k, x in enumerate(problem.guess.states):
            mpc.opt_x_num["_x", k, 0, -1] = x
        lower, upper = input_bounds(family, problem)
        for k, u in enumerate(problem.guess.inputs):
            mpc.opt_x_num["_u", k, 0] = u
            mpc.lb_opt_x["_u", k, 0], mpc.ub_opt_x["_u", k, 0] = lower[k], upper[k]
        if family.nh:
            lower, upper = limited_bounds(family, problem)
            mpc.nlp_cons_lb[-lower.size :], mpc.nlp_cons_ub[-upper.size :] = lower.ravel(), upper.ravel()

    def solve(self, problem: Problem) -> Array:
        """Solve the problem; returns the first input (nu,)."""
        first: Array = self._mpc.make_step(problem.start)
        return first[:, 0]

    def plan(self) -> Plan:
        """The last plan."""
        knots, found = range(self._family.horizon), self._mpc.opt_x_num
        states = [found["_x", k, 0, -1] for k in (*knots, self._family.horizon)]
        return Plan(np.array(ca.horzcat(*states)).T, np.array(ca.horzcat(*(found["_u", k, 0] for k in knots))).T)


def _controller(do_mpc: Any, family: Family) -> tuple[Any, Any]:
    """Make the controller; returns it and its time-varying parameters."""
    model = do_mpc.model.Model("discrete", "MX")
    x, u = model.set_variable("_x", "x", (family.nx, 1)), model.set_variable("_u", "u", (family.nu, 1))
    p = model.set_variable("_tvp", "p", (family.np, 1))
    model.set_rhs("x", family.step(x, u, p))
    model.setup()
    mpc = do_mpc.controller.MPC(model)
    settings = mpc.settings
    settings.n_horizon, settings.t_step, settings.n_robust = family.horizon, 1.0, 0
    settings.store_full_solution, settings.store_lagr_multiplier, settings.store_solver_stats = False, False, []
    settings.use_terminal_bounds, settings.nlpsol_opts = True, dict(_OPTIONS)
    mpc.set_objective(mterm=family.end_cost()(x, p), lterm=family.stage_cost()(x, u, p))
    mpc.set_rterm(u=0.0)
    for side, x_bound, u_bound in (
        ("lower", family.states.lower, family.inputs.lower),
        ("upper", family.states.upper, family.inputs.upper),
    ):
        mpc.bounds[side, "_x", "x"] = mpc.terminal_bounds[side, "x"] = x_bound
        mpc.bounds[side, "_u", "u"] = u_bound
    parameters = mpc.get_tvp_template()
    mpc.set_tvp_fun(lambda time: parameters)
    mpc.prepare_nlp()
    if family.nh:
        _limit(mpc, family)
    mpc.create_nlp()
    return mpc, parameters


def _limit(mpc: Any, family: Family) -> None:
    """Append the efforts at all knots to the constraints."""
    at_end, end = family.limited_at_end(), family.horizon
    known, parameters = mpc.opt_x, mpc.opt_p
    efforts = [family.limited(known["_x", k, 0, -1], known["_u", k, 0], parameters["_tvp", k]) for k in range(end)]
    efforts.append(at_end(known["_x", end, 0, -1], parameters["_tvp", end]))
    for rows in efforts:
        mpc.nlp_cons.append(rows)
        mpc.nlp_cons_lb.append(family.efforts.lower)
        mpc.nlp_cons_ub.append(family.efforts.upper)
