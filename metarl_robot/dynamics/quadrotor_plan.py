"""What a quadrotor's model-predictive controller computes with its dynamics, at all knots in one compiled call.

A plan's state is x = (q (7,), v (6,), f (4,)), f the thrust that the motors give [N]; its error coordinates are
δx = (δq, δv, δf) (16,), δq with the attitude's part in the tangent space, turned after it (dynamics/quadrotor.py: retract). Over a step
of length h the inputs u, commanded thrusts, are held:

    f(t) = u + (f_0 - u) e^(-t / τ),    (q, v): Newton-Euler with the payload π, effectiveness 1 + ε of the rotors and a residual Δ

integrated by the classical Runge-Kutta method in `SUBSTEPS` steps. The target inverts the same equations along a reference (differential
flatness; Mellinger, Kumar, ICRA 2011): the attitude that points the thrust where the residual wants it, the thrusts that hold it.
"""

from __future__ import annotations

from typing import NamedTuple

import casadi as ca
import numpy as np
from numpy.typing import NDArray

from metarl_robot.dynamics.compiled import NumpyFunction, compile_functions
from metarl_robot.dynamics.knots import Knots, compile_knots
from metarl_robot.dynamics.linearised import Linearised
from metarl_robot.dynamics.quadrotor import (
    GRAVITY,
    body_inertia,
    differing,
    quaternion_product,
    retracted,
    rotation_matrix,
    total_inertia,
)
from metarl_robot.dynamics.rigid_body import N_INERTIAL
from metarl_robot.quadrotor import Quadrotor

Array = NDArray[np.float64]

NX, NE, NU = 17, 16, 4
"""Sizes of a state, of its error coordinates, of an input."""
SUBSTEPS = 2
"""With one, errors of closed loops in wind grow by 0.3 to 1 %."""


class QuadrotorPlan:
    """Compiled functions for plans of `horizon` steps of `step_s`. Results are overwritten by the next call of the same method."""

    def __init__(self, robot: Quadrotor, horizon: int, step_s: float) -> None:
        linear = _linearised(robot, step_s)
        self.by_state, self.by_input = linear.sparsity_out(0), linear.sparsity_out(1)
        knots = horizon + 1
        self._many = compile_knots(
            {
                "linearise": Knots(_with_non_zeros(linear), horizon, shared=(4,)),
                "errors": Knots(_error(), knots),
                "target": Knots(_target(robot), knots, shared=(4,)),
                "moved": Knots(_moved(), knots),
            }
        )
        compiled = compile_functions({"advance": _advance(robot), "model": _model(robot)})
        self._advance, self._model = NumpyFunction(compiled["advance"]), NumpyFunction(compiled["model"])

    def model(self, payload: Array, strength: Array) -> Array:
        """(53,) what the other methods take: inertia of robot and payload (10,) together, and the rotors' effectiveness 1 + ε (4,)."""
        return self._model(payload, strength)[0].copy()

    def linearise(self, states: Array, inputs: Array, residuals: Array, model: Array, targets: Array) -> Linearised:
        """About states (N + 1, 17) and inputs (N, 4), under residuals (N, 6), towards targets (N + 1, 17)."""
        by_state, by_input, defects = self._many["linearise"](states[:-1], inputs, states[1:], residuals, model)
        return Linearised(by_state, by_input, defects, self._many["errors"](states, targets)[0])

    def dense(self, linear: Linearised, knot: int) -> tuple[Array, Array]:
        """A (16, 16) and B (16, 4) at one knot."""
        whole = (ca.DM(self.by_state, linear.by_state[knot]), ca.DM(self.by_input, linear.by_input[knot]))
        return np.array(whole[0]), np.array(whole[1])

    def target(self, q: Array, v: Array, a: Array, residuals: Array, model: Array) -> tuple[Array, Array]:
        """States (N + 1, 17) and inputs (N + 1, 4) that follow setpoints (N + 1, ·) under residuals (N + 1, 6)."""
        states, inputs = self._many["target"](q, v, a, residuals, model)
        return states, inputs

    def moved(self, states: Array, changes: Array) -> Array:
        """X ⊞ δx for (N + 1, 17) and (N + 1, 16)."""
        return self._many["moved"](states, changes)[0]

    def advance(self, state: Array, inputs: Array, residual: Array, model: Array, duration_s: float) -> Array:
        """X (17,) after `duration_s` under inputs (4,) and a residual (6,)."""
        return self._advance(state, inputs, residual, model, np.array([duration_s]))[0].copy()


class _Model(NamedTuple):
    """The entries of a model vector."""

    mass: ca.SX
    moment: ca.SX
    matrix: ca.SX
    inverse: ca.SX
    strength: ca.SX


_MODEL = 1 + 3 + 9 + 36 + NU


def _split(model: ca.SX) -> _Model:
    mass, moment, matrix, inverse, strength = ca.vertsplit(model, [0, 1, 4, 13, 49, _MODEL])
    return _Model(mass, moment, ca.reshape(matrix, 3, 3), ca.reshape(inverse, 6, 6), strength)


def _model(robot: Quadrotor) -> ca.Function:
    payload, strength = ca.SX.sym("pi", N_INERTIAL), ca.SX.sym("strength", NU)
    inertia = total_inertia(robot, payload)
    inverse = ca.inv(body_inertia(inertia))
    entries = (inertia.mass, inertia.moment, ca.vec(inertia.matrix), ca.vec(inverse), strength)
    return ca.Function("model", [payload, strength], [ca.densify(ca.vertcat(*entries))])


def _flow(robot: Quadrotor, x: ca.SX, thrust: ca.SX, residual: ca.SX, model: _Model) -> ca.SX:
    """d(q, v)/dt (13,) under thrusts (4,)."""
    attitude, linear, spin = x[3:7], x[7:10], x[10:13]
    r = rotation_matrix(attitude)
    wrench = ca.DM(robot.allocation) @ (model.strength * thrust)
    force = ca.vertcat(0, 0, wrench[0]) + r.T @ residual[:3] - ca.cross(spin, ca.cross(spin, model.moment))
    torque = wrench[1:] + residual[3:] - ca.cross(spin, model.matrix @ spin)
    accelerations = model.inverse @ ca.vertcat(force, torque)
    turning = 0.5 * quaternion_product(attitude, ca.vertcat(0, spin))
    return ca.vertcat(linear, turning, r @ accelerations[:3] + ca.DM(GRAVITY), accelerations[3:])


def _step(robot: Quadrotor, x: ca.SX, u: ca.SX, residual: ca.SX, model: _Model, step_s: float | ca.SX) -> ca.SX:
    """The state (17,) one step later."""
    tau = float(np.mean(robot.motor_time_s))
    motion, lag, h = x[:13], x[13:] - u, step_s / SUBSTEPS

    def thrust(time: float | ca.SX) -> ca.SX:
        return u + lag * ca.exp(-time / tau)

    for i in range(SUBSTEPS):
        start, middle, end = (thrust((i + part) * h) for part in (0.0, 0.5, 1.0))
        k1 = _flow(robot, motion, start, residual, model)
        k2 = _flow(robot, motion + 0.5 * h * k1, middle, residual, model)
        k3 = _flow(robot, motion + 0.5 * h * k2, middle, residual, model)
        k4 = _flow(robot, motion + h * k3, end, residual, model)
        motion = motion + h / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + k4)
    attitude = motion[3:7] / ca.norm_2(motion[3:7])
    return ca.vertcat(motion[:3], attitude, motion[7:], thrust(step_s))


def _moved_by(x: ca.SX, change: ca.SX) -> ca.SX:
    return ca.vertcat(retracted(x[:7], change[:6]), x[7:] + change[6:])


def _away(x: ca.SX, base: ca.SX) -> ca.SX:
    return ca.vertcat(differing(x[:7], base[:7]), x[7:] - base[7:])


def _near(x: ca.SX, base: ca.SX) -> ca.SX:
    """`_away` where x is close to base: the same value and slope, simpler."""
    turn = quaternion_product(ca.vertcat(base[3], -base[4:7]), x[3:7])
    return ca.vertcat(x[:3] - base[:3], 2.0 * turn[1:], x[7:] - base[7:])


def _linearised(robot: Quadrotor, step_s: float) -> ca.Function:
    """(x, u, x', Δ, model) → A, B, c with their sparsity: δx' = A δx + B δu + c."""
    x, u, after, residual = ca.SX.sym("x", NX), ca.SX.sym("u", NU), ca.SX.sym("after", NX), ca.SX.sym("residual", 6)
    change, model = ca.SX.sym("change", NE), ca.SX.sym("model", _MODEL)
    reached = _step(robot, x, u, residual, _split(model), step_s)
    moved = _step(robot, _moved_by(x, change), u, residual, _split(model), step_s)
    here = ca.SX.sym("here", NX)
    by_change, by_input = ca.jacobian(_near(moved, here), change), ca.jacobian(_near(reached, here), u)
    by_change = ca.substitute([by_change], [change, here], [ca.SX.zeros(NE), reached])[0]
    by_input = ca.substitute([by_input], [here], [reached])[0]
    by_change, by_input = ca.sparsify(by_change), ca.sparsify(by_input)
    return ca.Function("linearised", [x, u, after, residual, model], [by_change, by_input, _away(reached, after)])


def _with_non_zeros(linear: ca.Function) -> ca.Function:
    arguments = [ca.SX.sym(f"x{i}", linear.size1_in(i)) for i in range(linear.n_in())]
    by_state, by_input, defect = linear(*arguments)
    return ca.Function("non_zeros", arguments, ca.cse([by_state.nz[:], by_input.nz[:], ca.densify(defect)]))


def _error() -> ca.Function:
    x, base = ca.SX.sym("x", NX), ca.SX.sym("base", NX)
    return ca.Function("error", [x, base], [_away(x, base)])


def _moved() -> ca.Function:
    x, change = ca.SX.sym("x", NX), ca.SX.sym("change", NE)
    return ca.Function("moved_knot", [x, change], [_moved_by(x, change)])


def _target(robot: Quadrotor) -> ca.Function:
    """One setpoint (q, v, a) under a residual → state and input that follow it; yaw as close to the setpoint's as the tilt allows."""
    q, v, a, residual = ca.SX.sym("q", 7), ca.SX.sym("v", 6), ca.SX.sym("a", 6), ca.SX.sym("residual", 6)
    vector = ca.SX.sym("model", _MODEL)
    model = _split(vector)
    acceleration = a[:3] - ca.DM(GRAVITY)
    push = model.mass * acceleration - residual[:3]
    collective = ca.norm_2(push)
    up, wanted = rotation_matrix(q[3:])[:, 2], push / collective
    align = ca.vertcat(1.0 + ca.dot(up, wanted) + 1e-9, ca.cross(up, wanted))
    attitude = quaternion_product(align / ca.norm_2(align), q[3:])
    spin, turning = v[3:], a[3:]
    by_body = rotation_matrix(attitude).T @ acceleration
    torque = model.matrix @ turning + ca.cross(spin, model.matrix @ spin) + ca.cross(model.moment, by_body) - residual[3:]
    thrusts = ca.DM(np.linalg.inv(robot.allocation)) @ ca.vertcat(collective, torque) / model.strength
    state = ca.vertcat(q[:3], attitude, v, thrusts)
    return ca.Function("target_knot", [q, v, a, residual, vector], [state, thrusts])


def _advance(robot: Quadrotor) -> ca.Function:
    x, u, residual, model, time = (ca.SX.sym(name, size) for name, size in (("x", NX), ("u", NU), ("d", 6), ("model", _MODEL), ("t", 1)))
    return ca.Function("advance", [x, u, residual, model, time], [_step(robot, x, u, residual, _split(model), time)])
