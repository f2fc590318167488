# SPDX-License-Identifier: Apache-2.0
"""Compiled functions of a quadrotor's model-predictive controller, evaluated at all knots in one call.

A plan's state is x = (q (7,), v (6,), f (n,)), with f the motors' thrust [N]. Its error coordinates are δx = (δq, δv,
δf) (12 + n,); the attitude's part of δq is in the tangent space, applied after the attitude (dynamics.py: retract).
plan_step.py defines a step. The target inverts the same equations along a reference (differential flatness; Mellinger,
Kumar, ICRA 2011): the attitude that points the thrust along the force required under the residual, and the thrusts that
hold it.
"""

from __future__ import annotations

from functools import lru_cache

import casadi as ca
import numpy as np
from numpy.typing import NDArray

from metarl_robot.compile.compiled import NumpyFunction, compile_functions
from metarl_robot.compile.knots import Knots, compile_knots
from metarl_robot.dynamics.linearised import Linearised
from metarl_robot.robots.quadrotor.description import Quadrotor
from metarl_robot.robots.quadrotor.dynamics import GRAVITY, quaternion_product, retracted, rotation_matrix
from metarl_robot.robots.quadrotor.mixing import mixing
from metarl_robot.robots.quadrotor.plan_step import away, holding, linearised, model_function, sizes, split, step

Array = NDArray[np.float64]


class QuadrotorPlan:
    """Compiled functions for plans of `horizon` steps of `step_s`.

    Results are overwritten by the next call of the same method.
    """

    def __init__(self, robot: Quadrotor, horizon: int, step_s: float) -> None:
        linear, non_zeros = _linearised(robot, step_s)
        functions = _functions(robot)
        self._robot = robot
        self.by_state, self.by_input = linear.sparsity_out(0), linear.sparsity_out(1)
        knots = horizon + 1
        self._many = compile_knots(
            {
                "linearise": Knots(non_zeros, horizon, shared=(4,)),
                "errors": Knots(functions["errors"], knots),
                "target": Knots(functions["target"], knots, shared=(4,)),
                "moved": Knots(functions["moved"], knots),
            }
        )
        compiled = compile_functions({name: functions[name] for name in ("advance", "model")})
        self._advance, self._model = NumpyFunction(compiled["advance"]), NumpyFunction(compiled["model"])

    def model(self, payload: Array, strength: Array) -> Array:
        """Return the model parameters of the other methods, as a vector.

        They hold the inertia of robot (with payload (10,)) and the rotors' effectiveness 1 + ε (n,).
        """
        return self._model(payload, strength, *self._mixing(strength))[0].copy()

    def _mixing(self, strength: Array) -> tuple[Array, ...]:
        """Mixing by columns (4 n,) at an effectiveness: weak rotors get less to do. Four rotors leave no choice."""
        if self._robot.nu == 4:
            return ()
        return (np.ravel(mixing(self._robot.wrench_map * strength), order="F"),)

    def linearise(self, states: Array, inputs: Array, residuals: Array, model: Array, targets: Array) -> Linearised:
        """Linearise about states (N + 1, 13 + n) and inputs (N, n).

        residuals: (N, 6). targets: (N + 1, 13 + n).
        """
        by_state, by_input, defects = self._many["linearise"](states[:-1], inputs, states[1:], residuals, model)
        return Linearised(by_state, by_input, defects, self._many["errors"](states, targets)[0])

    def dense(self, linear: Linearised, knot: int) -> tuple[Array, Array]:
        """Return A (12 + n, 12 + n) and B (12 + n, n) at one knot."""
        whole = (ca.DM(self.by_state, linear.by_state[knot]), ca.DM(self.by_input, linear.by_input[knot]))
        return np.array(whole[0]), np.array(whole[1])

    def target(self, q: Array, v: Array, a: Array, residuals: Array, model: Array) -> tuple[Array, Array]:
        """States (N + 1, 13 + n), inputs (N + 1, n) that follow setpoints (N + 1, ·) under residuals (N + 1, 6)."""
        states, inputs = self._many["target"](q, v, a, residuals, model)
        return states, inputs

    def moved(self, states: Array, changes: Array) -> Array:
        """Return x ⊞ δx for (N + 1, 13 + n) and (N + 1, 12 + n)."""
        return self._many["moved"](states, changes)[0]

    def advance(self, state: Array, inputs: Array, residual: Array, model: Array, duration_s: float) -> Array:
        """Return x (13 + n,) after `duration_s` under inputs (n,) and a residual (6,)."""
        return self._advance(state, inputs, residual, model, np.array([duration_s]))[0].copy()


@lru_cache(maxsize=8)
def _linearised(robot: Quadrotor, step_s: float) -> tuple[ca.Function, ca.Function]:
    """A step's derivative, dense and as its non-zeros. Cached, so that the next controller starts faster."""
    linear = linearised(robot, step_s)
    return linear, _with_non_zeros(linear)


@lru_cache(maxsize=8)
def _functions(robot: Quadrotor) -> dict[str, ca.Function]:
    """Functions that do not depend on the step's length; cached as well."""
    return {
        "errors": _error(robot),
        "target": _target(robot),
        "moved": _moved(robot),
        "advance": _advance(robot),
        "model": model_function(robot),
    }


def _with_non_zeros(linear: ca.Function) -> ca.Function:
    arguments = [ca.SX.sym(f"x{i}", linear.size1_in(i)) for i in range(linear.n_in())]
    by_state, by_input, defect = linear(*arguments)
    return ca.Function("non_zeros", arguments, ca.cse([by_state.nz[:], by_input.nz[:], ca.densify(defect)]))


def _error(robot: Quadrotor) -> ca.Function:
    x, base = ca.SX.sym("x", sizes(robot).state), ca.SX.sym("base", sizes(robot).state)
    return ca.Function("error", [x, base], [away(x, base)])


def _moved(robot: Quadrotor) -> ca.Function:
    x, change = ca.SX.sym("x", sizes(robot).state), ca.SX.sym("change", sizes(robot).error)
    return ca.Function("moved_knot", [x, change], [ca.vertcat(retracted(x[:7], change[:6]), x[7:] + change[6:])])


def _target(robot: Quadrotor) -> ca.Function:
    """Map a setpoint (q, v, a) under a residual to the state and input that follow it.

    The heading stays as close to the setpoint's as the tilt allows.
    """
    q, v, a, residual = ca.SX.sym("q", 7), ca.SX.sym("v", 6), ca.SX.sym("a", 6), ca.SX.sym("residual", 6)
    vector = ca.SX.sym("model", sizes(robot).model)
    model = split(robot, vector)
    acceleration = a[:3] - ca.DM(GRAVITY)
    push = model.mass * acceleration - residual[:3]
    collective = ca.norm_2(push)
    up, wanted = rotation_matrix(q[3:])[:, 2], push / collective
    align = ca.vertcat(1.0 + ca.dot(up, wanted) + 1e-9, ca.cross(up, wanted))
    attitude = quaternion_product(align / ca.norm_2(align), q[3:])
    spin, turning = v[3:], a[3:]
    by_body = rotation_matrix(attitude).T @ acceleration
    torque = (
        model.matrix @ turning + ca.cross(spin, model.matrix @ spin) + ca.cross(model.moment, by_body) - residual[3:]
    )
    thrusts = holding(robot, model, ca.vertcat(collective, torque))
    state = ca.vertcat(q[:3], attitude, v, thrusts)
    return ca.Function("target_knot", [q, v, a, residual, vector], [state, thrusts])


def _advance(robot: Quadrotor) -> ca.Function:
    size = sizes(robot)
    x, u, residual, vector, time = (
        ca.SX.sym(name, count)
        for name, count in (("x", size.state), ("u", size.input), ("d", 6), ("model", size.model), ("t", 1))
    )
    model = split(robot, vector)
    return ca.Function("advance", [x, u, residual, vector, time], [step(robot, x, u, residual, model, time)])
