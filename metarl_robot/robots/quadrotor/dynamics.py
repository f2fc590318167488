# SPDX-License-Identifier: Apache-2.0
"""Nominal dynamics of a quadrotor: a rigid body with rotor thrusts and a rigid payload, tested against MuJoCo.

m, h and J are the mass, first moment and inertia of robot and payload together about the body's origin (body axes). The
generalised velocity (v [world], ω [body]) has the momentum (Featherstone, "Rigid Body Dynamics Algorithms", 2008,
section 2.13)

    p = (m v + R (ω × h),  J ω + h × Rᵀv) = M(q) (v, ω),     ṗ = B(q) u + β + Δ
    β = (m g,  -ω × p_ω - Rᵀv × Rᵀp_v + h × Rᵀg)

The specific force a_b = Rᵀ(v̇ - g) and ω̇ depend on a constant matrix:

    (a_b, ω̇) = M_b⁻¹ (F_b - ω × (ω × h),  τ - ω × J ω),      M_b = [m 1, -[h]×; [h]×, J]

F_b and τ are the force and torque of the rotors and of the residual Δ = (force [N; world], torque [Nm; body]). A
payload enters through ten inertial parameters about the payload site (rigid_body.py); p and β are linear in them.
"""

from __future__ import annotations

from functools import lru_cache, partial
from typing import NamedTuple

import casadi as ca
import numpy as np
from numpy.typing import NDArray

from metarl_robot.compile.compiled import NumpyFunction, compile_functions
from metarl_robot.compile.knots import Knots, compile_knots, in_chunks
from metarl_robot.dynamics.momentum_balance import Balanced, Expected, balance_function
from metarl_robot.dynamics.rigid_body import N_INERTIAL
from metarl_robot.robots.quadrotor.description import GRAVITY_M_S2, Quadrotor

Array = NDArray[np.float64]

CHUNK = 64
GRAVITY: Array = np.array([0.0, 0.0, -GRAVITY_M_S2])
_NOTHING: Array = np.zeros(N_INERTIAL)


class Inertia(NamedTuple):
    """Mass m [kg], first moment h (3,) [kg m] and inertia J (3, 3) [kg m²] about the body's origin, body axes."""

    mass: ca.SX
    moment: ca.SX
    matrix: ca.SX


class QuadrotorDynamics(Balanced):
    """Momentum form and payload regressors of one quadrotor, for estimation. Do not share between threads.

    Implements the estimators' interface to a robot's dynamics (dynamics/protocols.py).
    """

    def __init__(self, robot: Quadrotor) -> None:
        self.robot = robot
        self.dof, self.nu = robot.dof, robot.nu
        functions, chunks = _functions(robot)
        compiled = compile_functions(functions)
        self._momentum = NumpyFunction(compiled["momentum"])
        self._regressor = NumpyFunction(compiled["regressor"])
        self._input_map = NumpyFunction(compiled["input_map"])
        self._retract = NumpyFunction(compiled["retract"])
        self._difference = NumpyFunction(compiled["difference"])
        self._expected = NumpyFunction(compiled["expected"])
        self._take_balance(compiled["balance"])
        self._drag_impulse = NumpyFunction(compiled["drag_impulse"])
        self._chunks = compile_knots({name: Knots(function, CHUNK) for name, function in chunks.items()})

    def momentum(self, q: Array, v: Array, payload: Array | None = None) -> tuple[Array, Array, Array]:
        """Return M (6, 6), p (6,) and β (6,). Overwritten by the next call."""
        mass, momentum, beta = self._momentum(q, v, _NOTHING if payload is None else payload)
        return mass, momentum, beta

    def mass_matrix(self, q: Array) -> Array:
        """Return M (6, 6) without payload."""
        return self._momentum(q, np.zeros(self.dof), _NOTHING)[0].copy()

    def momenta(self, q: Array, v: Array) -> tuple[Array, Array, Array]:
        """Evaluate `momentum` without payload for (N, 7), (N, 6): (N, 6, 6), (N, 6), (N, 6)."""
        mass, momentum, beta = in_chunks(self._chunks["momenta"], CHUNK, q, v)
        return mass, momentum, beta

    def attached_momentum_regressor(self, q: Array, v: Array) -> tuple[Array, Array]:
        """Return Y_p and Y_β (6, 10): Y_p π is the payload's share of p, Y_β π its share of β.

        Overwritten by the next call.
        """
        by_momentum, by_beta = self._regressor(q, v)
        return by_momentum, by_beta

    def attached_momentum_regressors(self, q: Array, v: Array) -> tuple[Array, Array]:
        """Evaluate `attached_momentum_regressor` for (N, 7), (N, 6): two arrays (N, 6, 10)."""
        by_momentum, by_beta = in_chunks(self._chunks["regressors"], CHUNK, q, v)
        return by_momentum, by_beta

    def drag_impulse(self, q_0: Array, v_0: Array, q_1: Array, v_1: Array, dt: float) -> Array:
        """Impulse ∫Δ dt (6, 4) of drag in still air, for each coefficient of `drag`. Overwritten by the next call."""
        return self._drag_impulse(q_0, v_0, q_1, v_1, np.array(dt))[0]

    def drags(self, q: Array, v: Array) -> Array:
        """Evaluate `drag` for (N, 7), (N, 6): (N, 6, 4)."""
        return in_chunks(self._chunks["drags"], CHUNK, q, v)[0]

    def attached_forces(self, q: Array, v: Array, a: Array, effort: Array, attached: Array) -> Array:
        """Generalised forces (N, n) that stand for an attached body in the nominal equation of motion."""
        return np.asarray(-self.attached_regressors(q, v, a) @ attached)

    def attached_regressors(self, q: Array, v: Array, a: Array) -> Array:
        """Return Y (N, 6, 10) for states (N, 7), (N, 6) and accelerations (N, 6).

        Y π is the payload's share of M v̇ + h.
        """
        return in_chunks(self._chunks["shares"], CHUNK, q, v, a)[0]

    def input_map(self, q: Array) -> Array:
        """Return B (6, n), the generalised force of unit thrusts. Overwritten by the next call."""
        return self._input_map(q)[0]

    def input_maps(self, q: Array) -> Array:
        """Evaluate `input_map` for (N, 7): (N, 6, n)."""
        return in_chunks(self._chunks["input_maps"], CHUNK, q)[0]

    def input_forces(self, q: Array, effort: Array) -> Array:
        """Generalised forces (N, 6) of thrusts (N, n)."""
        return np.asarray(np.einsum("kij,kj->ki", self.input_maps(q), effort))

    def retract(self, q: Array, change: Array) -> Array:
        """Return q ⊞ δ (7,): position moved by δ[:3] [world], attitude turned by δ[3:] [rad; body]."""
        return self._retract(q, change)[0].copy()

    def difference(self, q: Array, base: Array) -> Array:
        """Return δ (6,) with base ⊞ δ = q, the short way round."""
        return self._difference(q, base)[0].copy()

    def expected(self, q: Array, change: Array, measured: Array) -> Expected:
        """Expected measurement at q ⊞ δ; the accelerometer measures Rᵀ(v̇ - gravity).

        Everything except the pose is overwritten by the next call.
        """
        there, off, by_acceleration, at_rest = self._expected(q, change, measured)
        return there.copy(), off, (by_acceleration, at_rest)


def total_inertia(robot: Quadrotor, payload: ca.SX) -> Inertia:
    """Inertia of robot and payload together; payload: (10,) inertial parameters about the payload site."""
    place = ca.DM(robot.payload_position)
    mass, moment = payload[0], payload[1:4]
    xx, yy, zz, xy, xz, yz = (payload[i] for i in range(4, 10))
    about_site = ca.vertcat(ca.horzcat(xx, xy, xz), ca.horzcat(xy, yy, yz), ca.horzcat(xz, yz, zz))
    arm, offset = ca.skew(place), ca.skew(moment)
    about_origin = about_site - arm @ offset - offset @ arm - mass * arm @ arm
    return Inertia(robot.mass_kg + mass, moment + mass * place, ca.DM(robot.inertia) + about_origin)


def body_inertia(inertia: Inertia) -> ca.SX:
    """Return M_b (6, 6)."""
    cross = ca.skew(inertia.moment)
    return ca.vertcat(ca.horzcat(inertia.mass * ca.SX.eye(3), -cross), ca.horzcat(cross, inertia.matrix))


def rotation_matrix(quaternion: ca.SX) -> ca.SX:
    """Rotation matrix R (3, 3) of a unit quaternion (4,) wxyz."""
    w, x, y, z = (quaternion[i] for i in range(4))
    return ca.vertcat(
        ca.horzcat(1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
        ca.horzcat(2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
        ca.horzcat(2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
    )


def quaternion_product(p: ca.SX, q: ca.SX) -> ca.SX:
    """Quaternion product p ⊗ q (4,)."""
    w, u = p[0], p[1:]
    return ca.vertcat(w * q[0] - ca.dot(u, q[1:]), w * q[1:] + q[0] * u + ca.cross(u, q[1:]))


def retracted(q: ca.SX, change: ca.SX) -> ca.SX:
    """Return q ⊞ δ (7,), exactly normalised."""
    phi = change[3:]
    angle = ca.sqrt(ca.sumsqr(phi) + 1e-24)
    turned = quaternion_product(q[3:], ca.vertcat(ca.cos(angle / 2), phi * (ca.sin(angle / 2) / angle)))
    return ca.vertcat(q[:3] + change[:3], turned / ca.norm_2(turned))


def differing(q: ca.SX, base: ca.SX) -> ca.SX:
    """Return δ (6,) with base ⊞ δ = q, the short way round."""
    turn = quaternion_product(ca.vertcat(base[3], -base[4:]), q[3:])
    sine = ca.sqrt(ca.sumsqr(turn[1:]) + 1e-24)
    angle = 2 * ca.atan2(sine, ca.fabs(turn[0]))
    return ca.vertcat(q[:3] - base[:3], turn[1:] * (ca.sign(turn[0]) * angle / sine))


def input_matrix(robot: Quadrotor, q: ca.SX) -> ca.SX:
    """Input matrix B(q) (6, n)."""
    force = rotation_matrix(q[3:]) @ ca.DM(robot.wrench_map[:3])
    return ca.vertcat(force, ca.DM(robot.wrench_map[3:]))


def drag(q: ca.SX, v: ca.SX) -> ca.SX:
    """Force and torque (6, 4) of air drag in still air, one column for each coefficient.

    Linear across and along the rotors' axis, then quadratic in the speed across and along it.
    """
    axis, linear = rotation_matrix(q[3:])[:, 2], v[:3]
    along = ca.dot(linear, axis) * axis
    across, speed = linear - along, ca.norm_2(linear)
    return ca.vertcat(-ca.horzcat(across, along, speed * across, speed * along), ca.SX.zeros(3, 4))


def _momentum(robot: Quadrotor, q: ca.SX, v: ca.SX, payload: ca.SX) -> tuple[ca.SX, ca.SX, ca.SX]:
    inertia, r = total_inertia(robot, payload), rotation_matrix(q[3:])
    linear, spin, gravity = v[:3], v[3:], ca.DM(GRAVITY)
    by_body = r.T @ linear
    p_linear = inertia.mass * linear + r @ ca.cross(spin, inertia.moment)
    p_angular = inertia.matrix @ spin + ca.cross(inertia.moment, by_body)
    momentum = ca.vertcat(p_linear, p_angular)
    turning = -ca.cross(spin, p_angular) - ca.cross(by_body, r.T @ p_linear) + ca.cross(inertia.moment, r.T @ gravity)
    return ca.jacobian(momentum, v), momentum, ca.vertcat(inertia.mass * gravity, turning)


@lru_cache(maxsize=8)
def _functions(robot: Quadrotor) -> tuple[dict[str, ca.Function], dict[str, ca.Function]]:
    """Functions of one state, and of many. Cached, so that the next controller of this robot starts faster."""
    q, v, pi = ca.SX.sym("q", 7), ca.SX.sym("v", 6), ca.SX.sym("pi", N_INERTIAL)
    mass, p, beta = (ca.densify(x) for x in _momentum(robot, q, v, pi))
    momentum = ca.Function("momentum", [q, v, pi], [mass, p, beta])
    regressor = ca.Function("regressor", [q, v], [ca.densify(ca.jacobian(p, pi)), ca.densify(ca.jacobian(beta, pi))])
    a = ca.SX.sym("a", 6)
    turning = ca.vertcat(v[:3], 0.5 * quaternion_product(q[3:], ca.vertcat(0, v[3:])))
    load = ca.jacobian(ca.jtimes(p, q, turning) + mass @ a - beta, pi)
    share = ca.Function("share", [q, v, a], [ca.densify(load)])
    base, change = ca.SX.sym("base", 7), ca.SX.sym("change", 6)
    input_map = ca.Function("input_map", [q], [ca.densify(input_matrix(robot, q))])
    there, measured = retracted(q, change), ca.SX.sym("measured", 7)
    turned_back = rotation_matrix(there[3:]).T
    felt = [ca.densify(ca.horzcat(turned_back, ca.SX(3, 3))), -turned_back @ ca.DM(GRAVITY)]
    q_1, v_1, dt = ca.SX.sym("q_1", 7), ca.SX.sym("v_1", 6), ca.SX.sym("dt")
    functions = {
        "input_map": input_map,
        "retract": ca.Function("retract", [q, change], [retracted(q, change)]),
        "difference": ca.Function("difference", [q, base], [differing(q, base)]),
        "expected": ca.Function("expected", [q, change, measured], ca.cse([there, differing(measured, there), *felt])),
        "momentum": momentum,
        "regressor": regressor,
        "drag_impulse": ca.Function(
            "drag_impulse", [q, v, q_1, v_1, dt], [ca.densify(dt * drag(0.5 * (q + q_1), 0.5 * (v + v_1)))]
        ),
        "balance": balance_function(momentum, retracted, partial(input_matrix, robot)),
    }
    bare = ca.Function("bare_momentum", [q, v], momentum(q, v, ca.SX.zeros(N_INERTIAL)))
    drags = ca.Function("drags", [q, v], [ca.densify(drag(q, v))])
    return functions, {
        "input_maps": input_map,
        "shares": share,
        "momenta": bare,
        "regressors": regressor,
        "drags": drags,
    }
