# SPDX-License-Identifier: Apache-2.0
"""One step of a quadrotor's plan and its derivative, as expressions.

Newton-Euler over a step of length h, with inputs u (commanded thrusts) held, payload π, rotor effectiveness 1 + ε and
residual Δ:

    f(t) = u + (f_0 - u) e^(-t / τ),    M_b (a, ω̇) = wrench of f + (Rᵀ Δ_force, Δ_torque) - ω × (…)
    v̇ = R a + gravity

The step is integrated by the classical Runge-Kutta method in `SUBSTEPS` substeps. Its derivative is that of the
equations of motion (δθ is a rotation applied after the attitude: R becomes R (1 + [δθ]×); Solà 2017, section 5.3.3),
integrated by the same method along the same path. Differentiating the integrator itself, as CasADi would, is no more
accurate (the integrator's error dominates) and takes more operations.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import casadi as ca
import numpy as np

from metarl_robot.dynamics.rigid_body import N_INERTIAL
from metarl_robot.robots.quadrotor.description import Quadrotor
from metarl_robot.robots.quadrotor.dynamics import (
    GRAVITY,
    body_inertia,
    differing,
    quaternion_product,
    rotation_matrix,
    total_inertia,
)

SUBSTEPS = 2
"""Substeps of a step. With one, closed-loop errors in wind grow by 0.3 to 1 %."""
_BODY = 1 + 3 + 9 + 36


class Sizes(NamedTuple):
    """Sizes of a state (q, v, f), of its error coordinates (δp, δθ, δv, δω, δf), of an input, of a model."""

    state: int
    error: int
    input: int
    model: int


def sizes(robot: Quadrotor) -> Sizes:
    """Sizes for a robot with n rotors."""
    n = robot.nu
    return Sizes(13 + n, 12 + n, n, _BODY + n + (0 if n == 4 else 4 * n))


class Model(NamedTuple):
    """Model parameters of robot and payload about the robot's origin.

    Mass, first moment (3,), inertia (3, 3), M_b⁻¹ (6, 6), rotor effectiveness (n,), and with more than four rotors the
    mixing (n, 4) at that effectiveness.
    """

    mass: ca.SX
    moment: ca.SX
    matrix: ca.SX
    inverse: ca.SX
    strength: ca.SX
    mixing: ca.SX


def model_function(robot: Quadrotor) -> ca.Function:
    """Map (π (10,), 1 + ε (n,), with more than four rotors the mixing by columns) to a model as a vector."""
    payload, strength = ca.SX.sym("pi", N_INERTIAL), ca.SX.sym("strength", robot.nu)
    mixing = [] if robot.nu == 4 else [ca.SX.sym("mixing", 4 * robot.nu)]
    inertia = total_inertia(robot, payload)
    inverse = ca.inv(body_inertia(inertia))
    entries = (inertia.mass, inertia.moment, ca.vec(inertia.matrix), ca.vec(inverse), strength, *mixing)
    return ca.Function("model", [payload, strength, *mixing], [ca.densify(ca.vertcat(*entries))])


def split(robot: Quadrotor, model: ca.SX) -> Model:
    """Split a model's vector into its parts."""
    ends = [0, 1, 4, 13, _BODY, _BODY + robot.nu, sizes(robot).model]
    mass, moment, matrix, inverse, strength, mixing = ca.vertsplit(model, ends)
    inertia = mass, moment, ca.reshape(matrix, 3, 3), ca.reshape(inverse, 6, 6)
    return Model(*inertia, strength, ca.reshape(mixing, -1, 4))


def holding(robot: Quadrotor, model: Model, wrench: ca.SX) -> ca.SX:
    """Thrust commands (n,) that give a collective thrust and a torque (4,) at the rotors' effectiveness."""
    if robot.nu == 4:
        return ca.DM(robot.mixing) @ wrench / model.strength
    return model.mixing @ wrench


def step(robot: Quadrotor, x: ca.SX, u: ca.SX, residual: ca.SX, model: Model, step_s: float | ca.SX) -> ca.SX:
    """Return the state (13 + n,) one step after x (13 + n,), under u (n,) and a residual (6,)."""
    return _end(_path(robot, x, u, residual, model, step_s), step_s)


def away(x: ca.SX, base: ca.SX) -> ca.SX:
    """Error coordinates (12 + n,) of x relative to a base (13 + n,)."""
    return ca.vertcat(differing(x[:7], base[:7]), x[7:] - base[7:])


def linearised(robot: Quadrotor, step_s: float) -> ca.Function:
    """Map (x, u, x', Δ, model) to A (e, e), B (e, n), c (e,), sparse, e = 12 + n: δx' = A δx + B δu + c."""
    size, residual = sizes(robot), ca.SX.sym("residual", 6)
    x, u, after = ca.SX.sym("x", size.state), ca.SX.sym("u", size.input), ca.SX.sym("after", size.state)
    vector = ca.SX.sym("model", size.model)
    model = split(robot, vector)
    path = _path(robot, x, u, residual, model, step_s)
    rigid, by_input = _grown(robot, path, residual, model, step_s)
    left = math.exp(-step_s / _lag_s(robot))
    by_state = ca.vertcat(rigid, ca.horzcat(ca.SX(size.input, 12), left * ca.SX.eye(size.input)))
    by_input = ca.vertcat(by_input, (1.0 - left) * ca.SX.eye(size.input))
    results = [ca.sparsify(by_state), ca.sparsify(by_input), away(_end(path, step_s), after)]
    return ca.Function("linearised", [x, u, after, residual, vector], results)


class _Path(NamedTuple):
    """A step: its motions, and its thrusts (n,) at any time.

    The motions (13,) are those at its beginning, at each substep's middle and at its end.
    """

    motions: list[ca.SX]
    thrust: Callable[[float | ca.SX], ca.SX]


def _path(robot: Quadrotor, x: ca.SX, u: ca.SX, residual: ca.SX, model: Model, step_s: float | ca.SX) -> _Path:
    motions, lag, h = [x[:13]], x[13:] - u, step_s / SUBSTEPS

    def thrust(time: float | ca.SX) -> ca.SX:
        return u + lag * ca.exp(-time / _lag_s(robot))

    def flow(motion: ca.SX, substeps: float) -> ca.SX:
        return _flow(robot, motion, thrust(substeps * h), residual, model)

    for i in range(SUBSTEPS):
        begin = motions[-1]
        k1 = flow(begin, i)
        k2 = flow(begin + 0.5 * h * k1, i + 0.5)
        k3 = flow(begin + 0.5 * h * k2, i + 0.5)
        k4 = flow(begin + h * k3, i + 1.0)
        end = begin + h / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + k4)
        # Hermite's midpoint, because the quaternions of the stages do not have unit length.
        motions += [0.5 * (begin + end) + h / 8.0 * (k1 - k4), end]
    return _Path(motions, thrust)


def _end(path: _Path, step_s: float | ca.SX) -> ca.SX:
    """The state (13 + n,) at a path's end."""
    motion = path.motions[-1]
    return ca.vertcat(motion[:3], motion[3:7] / ca.norm_2(motion[3:7]), motion[7:], path.thrust(step_s))


def _lag_s(robot: Quadrotor) -> float:
    """Motor time constant τ, the mean of both directions [s]."""
    return float(np.mean(robot.motor_time_s))


class _Accelerations(NamedTuple):
    """Rotation R, and in the body frame the residual's force and both accelerations (3,)."""

    rotation: ca.SX
    pushed: ca.SX
    linear: ca.SX
    angular: ca.SX


def _accelerations(robot: Quadrotor, motion: ca.SX, thrust: ca.SX, residual: ca.SX, model: Model) -> _Accelerations:
    rotation, spin = rotation_matrix(motion[3:7]), motion[10:13]
    wrench = ca.DM(robot.wrench_map) @ (model.strength * thrust)
    pushed = rotation.T @ residual[:3]
    force = wrench[:3] + pushed - ca.cross(spin, ca.cross(spin, model.moment))
    torque = wrench[3:] + residual[3:] - ca.cross(spin, model.matrix @ spin)
    both = model.inverse @ ca.vertcat(force, torque)
    return _Accelerations(rotation, pushed, both[:3], both[3:])


def _flow(robot: Quadrotor, motion: ca.SX, thrust: ca.SX, residual: ca.SX, model: Model) -> ca.SX:
    """Time derivative of (q, v) (13,) under thrusts (n,)."""
    now = _accelerations(robot, motion, thrust, residual, model)
    turning = 0.5 * quaternion_product(motion[3:7], ca.vertcat(0, motion[10:13]))
    return ca.vertcat(motion[7:10], turning, now.rotation @ now.linear + ca.DM(GRAVITY), now.angular)


class _Slopes(NamedTuple):
    """Derivatives of the rates of (δθ, δv, δω) (9,) with respect to δθ (9, 3), δω (9, 3) and δf (9, n)."""

    by_turn: ca.SX
    by_spin: ca.SX
    by_thrust: ca.SX


def _slopes(robot: Quadrotor, motion: ca.SX, thrust: ca.SX, residual: ca.SX, model: Model) -> _Slopes:
    """The equations of motion, linearised at a motion (13,)."""
    now, spin = _accelerations(robot, motion, thrust, residual, model), motion[10:13]
    centrifugal = ca.skew(ca.cross(spin, model.moment)) + ca.skew(spin) @ ca.skew(model.moment)
    gyroscopic = ca.skew(model.matrix @ spin) - ca.skew(spin) @ model.matrix
    by_turn = model.inverse[:, :3] @ ca.skew(now.pushed)
    by_spin = model.inverse @ ca.vertcat(centrifugal, gyroscopic)
    by_thrust = model.inverse @ ca.DM(robot.wrench_map) @ ca.diag(model.strength)
    turned = by_turn[:3, :] - ca.skew(now.linear)
    return _Slopes(
        ca.vertcat(-ca.skew(spin), now.rotation @ turned, by_turn[3:, :]),
        ca.vertcat(ca.SX.eye(3), now.rotation @ by_spin[:3, :], by_spin[3:, :]),
        ca.vertcat(ca.SX(3, robot.nu), now.rotation @ by_thrust[:3, :], by_thrust[3:, :]),
    )


def _grown(robot: Quadrotor, path: _Path, residual: ca.SX, model: Model, step_s: float) -> tuple[ca.SX, ca.SX]:
    """Derivatives of (δp, δθ, δv, δω) (12,) at a path's end with respect to δx (12, 12 + n) and δu (12, n)."""
    h, one, none, rest = step_s / SUBSTEPS, ca.SX.eye(3), ca.SX(3, 3), ca.SX(3, 2 * robot.nu)

    def slope(point: int, grown: ca.SX) -> ca.SX:
        time = 0.5 * point * h
        at = _slopes(robot, path.motions[point], path.thrust(time), residual, model)
        left = math.exp(-time / _lag_s(robot))
        driven = ca.horzcat(ca.SX(9, 6), left * at.by_thrust, (1.0 - left) * at.by_thrust)
        return at.by_turn @ grown[:3, :] + at.by_spin @ grown[6:, :] + driven

    grown = ca.blockcat([[one, none, rest], [none, none, rest], [none, one, rest]])  # (δθ, δv, δω) by (δθ, δω, δf, δu)
    moved = ca.SX(*grown[:3, :].shape)  # δp with respect to the same
    for first in range(0, 2 * SUBSTEPS, 2):
        k1 = slope(first, grown)
        k2 = slope(first + 1, grown + 0.5 * h * k1)
        k3 = slope(first + 1, grown + 0.5 * h * k2)
        k4 = slope(first + 2, grown + h * k3)
        moved += h * (grown + h / 6.0 * (k1 + k2 + k3))[3:6, :]
        grown += h / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + k4)
    ends = [0, 3, 6, 6 + robot.nu, 6 + 2 * robot.nu]
    by_turn, by_spin, by_thrust, by_input = ca.horzsplit(ca.vertcat(moved, grown), ends)
    by_place, by_velocity = ca.vertcat(one, none, none, none), ca.vertcat(step_s * one, none, one, none)
    return ca.horzcat(by_place, by_turn, by_velocity, by_spin, by_thrust), by_input
