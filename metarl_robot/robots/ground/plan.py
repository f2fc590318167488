# SPDX-License-Identifier: Apache-2.0
"""Compiled functions of a ground vehicle's model-predictive controller, evaluated at all knots in one call.

A plan's state is x = (q (3,), v (3,), effort that acts (nu,)). Its error coordinates are those of the reference's path:
position and velocity along and across the reference's heading, which differs from knot to knot.
"""

from __future__ import annotations

from functools import lru_cache

import casadi as ca
import numpy as np
from numpy.typing import NDArray

from metarl_robot.compile.compiled import NumpyFunction, compile_functions
from metarl_robot.compile.knots import Knots, compile_knots
from metarl_robot.dynamics.linearised import Linearised
from metarl_robot.robots.ground.description import Ground
from metarl_robot.robots.ground.dynamics import N_PARAMETERS, flow

Array = NDArray[np.float64]

SUBSTEP_S = 0.02
"""Longest substep: at standstill a tyre is a stiff damper."""


class GroundPlan:
    """Compiled functions for plans of `horizon` steps of `step_s`. Results are overwritten by the next call."""

    def __init__(self, robot: Ground, horizon: int, step_s: float) -> None:
        linear, non_zeros = _linearised(robot, step_s)
        self.by_state, self.by_input = linear.sparsity_out(0), linear.sparsity_out(1)
        self._many = compile_knots(
            {"linearise": Knots(non_zeros, horizon, shared=(4,)), "errors": Knots(_errors(robot), horizon + 1)}
        )
        self._advance = NumpyFunction(compile_functions({"advance": _advance(robot)})["advance"])

    def linearise(
        self, states: Array, inputs: Array, residuals: Array, parameters: Array, targets: Array
    ) -> Linearised:
        """Linearise about states (N + 1, n) and inputs (N, nu).

        residuals: (N, 3). parameters: (N_PARAMETERS,), see dynamics.py. targets: (N + 1, n).
        """
        yaw = targets[:, 2:3]
        by_state, by_input, defects = self._many["linearise"](
            states[:-1], inputs, states[1:], residuals, parameters, yaw[:-1], yaw[1:]
        )
        return Linearised(by_state, by_input, defects, self._many["errors"](states, targets)[0])

    def dense(self, linear: Linearised, knot: int) -> tuple[Array, Array]:
        """A (n, n) and B (n, nu) at one knot."""
        whole = (ca.DM(self.by_state, linear.by_state[knot]), ca.DM(self.by_input, linear.by_input[knot]))
        return np.array(whole[0]), np.array(whole[1])

    def moved(self, states: Array, changes: Array, targets: Array) -> Array:
        """States (N + 1, n) after changes (N + 1, n) in error coordinates."""
        c, s = np.cos(targets[:, 2]), np.sin(targets[:, 2])
        moved = states + changes
        for at in (0, 3):
            along, across = changes[:, at], changes[:, at + 1]
            moved[:, at] = states[:, at] + c * along - s * across
            moved[:, at + 1] = states[:, at + 1] + s * along + c * across
        return moved

    def advance(self, state: Array, inputs: Array, residual: Array, parameters: Array, duration_s: float) -> Array:
        """State (n,) after `duration_s` (at most SUBSTEP_S) under inputs (nu,) and a residual (3,)."""
        return self._advance(state, inputs, residual, parameters, np.array([duration_s]))[0].copy()


def _runge_kutta(robot: Ground, x: ca.SX, u: ca.SX, residual: ca.SX, p: ca.SX, h: float | ca.SX) -> ca.SX:
    k1 = flow(robot, x, u, residual, p)
    k2 = flow(robot, x + 0.5 * h * k1, u, residual, p)
    k3 = flow(robot, x + 0.5 * h * k2, u, residual, p)
    k4 = flow(robot, x + h * k3, u, residual, p)
    return x + h / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + k4)


def _to_path(yaw: ca.SX, size: int) -> ca.SX:
    """Rotation (n, n) from world to the path's coordinates of positions and velocities."""
    c, s = ca.cos(yaw), ca.sin(yaw)
    turn = ca.SX.eye(size)
    for at in (0, 3):
        turn[at, at], turn[at, at + 1], turn[at + 1, at], turn[at + 1, at + 1] = c, s, -s, c
    return turn


@lru_cache(maxsize=8)
def _linearised(robot: Ground, step_s: float) -> tuple[ca.Function, ca.Function]:
    """A step's derivative in path coordinates, sparse and as its non-zeros."""
    n, nu = 6 + robot.nu, robot.nu
    x, u, after, residual = ca.SX.sym("x", n), ca.SX.sym("u", nu), ca.SX.sym("after", n), ca.SX.sym("d", 3)
    here, there, p = ca.SX.sym("here"), ca.SX.sym("there"), ca.SX.sym("p", N_PARAMETERS)
    end, count = x, max(1, int(np.ceil(step_s / SUBSTEP_S - 1e-9)))
    for _ in range(count):
        end = _runge_kutta(robot, end, u, residual, p, step_s / count)
    turned = _to_path(there, n)
    by_state = ca.sparsify(turned @ ca.jacobian(end, x) @ _to_path(here, n).T)
    by_input = ca.sparsify(turned @ ca.jacobian(end, u))
    defect = ca.densify(turned @ (end - after))
    arguments = [x, u, after, residual, p, here, there]
    linear = ca.Function("linearised", arguments, [by_state, by_input, defect])
    return linear, ca.Function("non_zeros", arguments, ca.cse([by_state.nz[:], by_input.nz[:], defect]))


def _errors(robot: Ground) -> ca.Function:
    n = 6 + robot.nu
    x, target = ca.SX.sym("x", n), ca.SX.sym("target", n)
    return ca.Function("errors", [x, target], [ca.densify(_to_path(target[2], n) @ (x - target))])


def _advance(robot: Ground) -> ca.Function:
    n = 6 + robot.nu
    x, u, residual, time = ca.SX.sym("x", n), ca.SX.sym("u", robot.nu), ca.SX.sym("d", 3), ca.SX.sym("t")
    p = ca.SX.sym("p", N_PARAMETERS)
    end = _runge_kutta(robot, x, u, residual, p, time)
    return ca.Function("advance", [x, u, residual, p, time], [end])
