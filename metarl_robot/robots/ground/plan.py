# SPDX-License-Identifier: Apache-2.0
"""Compiled functions of a ground vehicle's model-predictive controller, evaluated at all knots in one call.

A plan's state is x = (q (3,), v (3,), effort that acts (nu,)). Its error coordinates are those of the reference's path:
position and velocity along and across the reference's heading, which differs from knot to knot.
"""

from __future__ import annotations

from collections.abc import Callable
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
"""Longest substep."""
_GAMMA = 1.0 - 1.0 / np.sqrt(2.0)


class GroundPlan:
    """Compiled functions for plans of `horizon` steps of `step_s`. Results are overwritten by the next call."""

    def __init__(self, robot: Ground, horizon: int, step_s: float) -> None:
        self._step_s, self._substeps = step_s, _substeps(step_s)
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

    def rolled_out(self, start: Array, inputs: Array, residuals: Array, parameters: Array) -> Array:
        """States (N + 1, n) from a state (n,) under inputs (N, nu) and residuals (N, 3)."""
        states = np.empty((len(inputs) + 1, len(start)))
        states[0] = start
        for k, (effort, residual) in enumerate(zip(inputs, residuals, strict=True)):
            states[k + 1] = states[k]
            for _ in range(self._substeps):
                states[k + 1] = self.advance(states[k + 1], effort, residual, parameters, self._step_s / self._substeps)
        return states

    def advance(self, state: Array, inputs: Array, residual: Array, parameters: Array, duration_s: float) -> Array:
        """State (n,) after `duration_s` (at most SUBSTEP_S) under inputs (nu,) and a residual (3,)."""
        return self._advance(state, inputs, residual, parameters, np.array([duration_s]))[0].copy()


class Samples:
    """Steps of K samples in one call. Results are overwritten by the next call."""

    def __init__(self, robot: Ground, samples: int, step_s: float) -> None:
        knots = Knots(_step_of(robot, step_s), samples, shared=(2, 3))
        self._advance = compile_knots({"advance": knots})["advance"]

    def advance(self, states: Array, inputs: Array, residual: Array, parameters: Array) -> Array:
        """States (K, n) after a step under inputs (K, nu), a residual (3,) and parameters (N_PARAMETERS,)."""
        return self._advance(states, inputs, residual, parameters)[0]


class _Step:
    """A step of the state over a time h: the Rosenbrock method ROS2 (Verwer et al., SIAM J. Sci. Comput. 20, 1999).

    It is L-stable: at low speed a tyre is a stiff damper. It is of second order with any matrix in place of the
    Jacobian, so that derivatives of the step may take that of the accelerations by the velocities as constant.

    end: (n,) the state after `count` steps.
    """

    def __init__(
        self, robot: Ground, x: ca.SX, u: ca.SX, residual: ca.SX, p: ca.SX, h: float | ca.SX, count: int = 1
    ) -> None:
        self._jacobians: list[tuple[ca.SX, ca.SX]] = []
        for _ in range(count):
            x = self._advanced(robot, x, lambda y: flow(robot, y, u, residual, p), h)
        self.end = x

    def _advanced(self, robot: Ground, x: ca.SX, rate: Callable[[ca.SX], ca.SX], h: float | ca.SX) -> ca.SX:
        at, jacobian = ca.SX.sym("at", x.numel()), ca.SX.sym("jacobian", 3, 3)
        value = ca.substitute(ca.jacobian(rate(at)[3:6], at[3:6]), at, x)
        self._jacobians.append((jacobian, value))
        inverse, left = ca.inv_minor(ca.SX.eye(3) - _GAMMA * h * jacobian), 1.0 + _GAMMA * h / ca.DM(robot.lag_s)

        def damped(y: ca.SX) -> ca.SX:
            return ca.vertcat(y[:3], inverse @ y[3:6], y[6:] / left)

        k1 = damped(rate(x))
        k2 = damped(rate(x + h * k1) - 2.0 * k1)
        return x + 1.5 * h * k1 + 0.5 * h * k2

    def completed(self, expression: ca.SX) -> ca.SX:
        """An expression of the end state with the Jacobians' values."""
        for symbol, value in reversed(self._jacobians):
            expression = ca.substitute(expression, symbol, value)
        return expression


def _substeps(step_s: float) -> int:
    return max(1, int(np.ceil(step_s / SUBSTEP_S - 1e-9)))


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
    count = _substeps(step_s)
    step, turned = _Step(robot, x, u, residual, p, step_s / count, count), _to_path(there, n)
    by_state = ca.sparsify(step.completed(turned @ ca.jacobian(step.end, x) @ _to_path(here, n).T))
    by_input = ca.sparsify(step.completed(turned @ ca.jacobian(step.end, u)))
    defect = ca.densify(step.completed(turned @ (step.end - after)))
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
    step = _Step(robot, x, u, residual, p, time)
    return ca.Function("advance", [x, u, residual, p, time], [ca.cse(step.completed(step.end))])


@lru_cache(maxsize=8)
def _step_of(robot: Ground, step_s: float) -> ca.Function:
    n, count = 6 + robot.nu, _substeps(step_s)
    x, u, residual = ca.SX.sym("x", n), ca.SX.sym("u", robot.nu), ca.SX.sym("d", 3)
    p = ca.SX.sym("p", N_PARAMETERS)
    step = _Step(robot, x, u, residual, p, step_s / count, count)
    return ca.Function("step", [x, u, residual, p], [ca.cse(step.completed(step.end))])
