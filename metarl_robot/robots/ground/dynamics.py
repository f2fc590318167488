# SPDX-License-Identifier: Apache-2.0
"""Nominal dynamics of a ground vehicle: a planar rigid body with tyre forces at its wheels.

    m (ẍ, ÿ) = R(ψ) Σ R(δ_i) F_i + Δ_force,    I ψ̈ = Σ r_i × R(δ_i) F_i + Δ_torque

F_i are the forces of wheel i in its own frame. Wheels follow their torques at once (quasi-static): the longitudinal
force is T_i / r less rolling resistance, limited by friction. The simulation also has the wheels' speeds
(sim/ground/). Loads are those of a rigid plate on equal springs; acceleration shifts them by the height of the centre
of mass.
"""

from __future__ import annotations

from typing import NamedTuple

import casadi as ca
import numpy as np
from numpy.typing import NDArray

from metarl_robot.compile.compiled import NumpyFunction, compile_functions
from metarl_robot.dynamics.euclidean import EuclideanPosition
from metarl_robot.dynamics.momentum_balance import Balance
from metarl_robot.robots.ground.description import GRAVITY_M_S2, Ground, Track
from metarl_robot.robots.ground.tyre import lateral_force, speed_of

Array = NDArray[np.float64]

N_SURFACE = 2
LEAST_LOAD = 0.05
"""Least load of a wheel, share of its static load."""


class Wheels(NamedTuple):
    """Velocities (w, 2) of wheels' centres in their own frames, and their steering angles (w,)."""

    along: ca.SX
    across: ca.SX
    angle: ca.SX


def body_velocity(q: ca.SX, v: ca.SX) -> ca.SX:
    """(forward, left) velocity [m/s; body] and yaw rate [rad/s]."""
    c, s = ca.cos(q[2]), ca.sin(q[2])
    return ca.vertcat(c * v[0] + s * v[1], c * v[1] - s * v[0], v[2])


def wheels(track: Track, twist: ca.SX, steering: ca.SX) -> Wheels:
    """Motion of the wheels at a body twist (3,) and a steering angle [rad]."""
    x, y = track.positions.T
    forward, left = twist[0] - twist[2] * y, twist[1] + twist[2] * x
    angle = steering * ca.DM(track.steered)
    c, s = ca.cos(angle), ca.sin(angle)
    return Wheels(c * forward + s * left, c * left - s * forward, angle)


def loads(track: Track, robot: Ground, force: ca.SX) -> ca.SX:
    """Loads (w,) [N] on level ground under a total horizontal force (2,) [N; body]; see Track.load_share."""
    weight, share = robot.mass_kg * GRAVITY_M_S2, track.load_share
    wanted = ca.vertcat(weight, -robot.com_height * force[0], -robot.com_height * force[1])
    return ca.fmax(share @ wanted, LEAST_LOAD * weight * share[:, 0])


def wrench(track: Track, motion: Wheels, along: ca.SX, across: ca.SX) -> ca.SX:
    """Force (2,) [N; body] and torque [Nm] of wheel forces (w,) in the wheels' frames."""
    c, s = ca.cos(motion.angle), ca.sin(motion.angle)
    forward, left = c * along - s * across, s * along + c * across
    x, y = track.positions.T
    return ca.vertcat(ca.sum1(forward), ca.sum1(left), ca.dot(x, left) - ca.dot(y, forward))


def tyre_wrench(robot: Ground, twist: ca.SX, effort: ca.SX, surface: ca.SX) -> ca.SX:
    """Force (2,) [N; body] and torque [Nm] at a body twist (3,) under commands (nu,) that act.

    surface: (2,) logarithms of friction and of slip stiffness, over the description's.

    Wheels of one axle that get the same torque count as one in the middle (single-track model).
    """
    steering = effort[0] if robot.is_steered else ca.SX(0.0)
    track = robot.single_track
    motion = wheels(track, twist, steering)
    speed = speed_of(motion.along)
    drive = track.torque_share @ effort / robot.wheel_radius_m
    load = loads(track, robot, ca.vertcat(ca.sum1(drive), 0.0))
    friction, stiffness = robot.friction * ca.exp(surface[0]), ca.exp(surface[1]) * track.cornering_stiffness
    grip = friction * load  # limits the drive force smoothly: by 1 % at 70 % of the grip
    drive = drive / ca.sqrt(ca.sqrt(ca.sqrt(1.0 + (((drive / grip) ** 2) ** 2) ** 2)))
    rolling = robot.rolling * load * motion.along / speed
    across = lateral_force(load, friction, -stiffness * motion.across / speed, drive)
    return wrench(track, motion, drive - rolling, across)


def force_of(robot: Ground, q: ca.SX, v: ca.SX, effort: ca.SX, surface: ca.SX) -> ca.SX:
    """Generalised force (3,) [N, N, Nm; world] of the tyres."""
    force = tyre_wrench(robot, body_velocity(q, v), effort, surface)
    c, s = ca.cos(q[2]), ca.sin(q[2])
    return ca.vertcat(c * force[0] - s * force[1], s * force[0] + c * force[1], force[2])


def flow(robot: Ground, x: ca.SX, u: ca.SX, residual: ca.SX, surface: ca.SX) -> ca.SX:
    """Rate of (q, v, acting effort) (6 + nu,) under commands u (nu,) and a residual (3,) [N, N, Nm; world]."""
    q, v, acting = x[:3], x[3:6], x[6:]
    world = force_of(robot, q, v, acting, surface) + residual
    return ca.vertcat(v, world / ca.DM(_inertia(robot)), (u - acting) / ca.DM(robot.lag_s))


class GroundDynamics(EuclideanPosition):
    """Momentum form of a ground vehicle, for estimators (dynamics/protocols.py). Not to be shared between threads.

    The attached parameters are the surface's: logarithms of friction and slip stiffness, over the description's. Forces
    are linearised about the given ones, as the filter linearises about its estimate.
    """

    attached = N_SURFACE

    def __init__(self, robot: Ground) -> None:
        self.robot, self.dof, self.nu = robot, robot.dof, robot.nu
        self._mass = np.diag(_inertia(robot))
        compiled = compile_functions({"balance": _balance(robot), "force": _force(robot)})
        self._balance, self._force = (NumpyFunction(compiled[name]) for name in ("balance", "force"))

    def momentum(self, q: Array, v: Array) -> tuple[Array, Array, Array]:
        return self._mass, self._mass @ v, np.zeros(self.dof)

    def mass_matrix(self, q: Array) -> Array:
        """Mass matrix M (3, 3)."""
        return self._mass.copy()

    def balance(self, q: Array, v_0: Array, v_1: Array, dt: float, attached: Array, effort: Array) -> Balance:
        return Balance(*self._balance(q, v_0, v_1, np.array([dt]), attached, effort))

    def input_map(self, q: Array) -> Array:
        """B at standstill and zero effort (3, nu)."""
        return np.asarray(self._force(q, np.zeros(3), np.zeros(self.nu), np.zeros(N_SURFACE))[1])

    def force(self, q: Array, v: Array, effort: Array, surface: Array) -> tuple[Array, Array]:
        """Tyre force (3,) [N, N, Nm; world], and its derivative (3, nu) by the effort."""
        return self._force(q, v, effort, surface)


def _inertia(robot: Ground) -> list[float]:
    return [robot.mass_kg, robot.mass_kg, robot.yaw_inertia]


def _balance(robot: Ground) -> ca.Function:
    q, v_0, v_1, dt = ca.SX.sym("q", 3), ca.SX.sym("v_0", 3), ca.SX.sym("v_1", 3), ca.SX.sym("dt")
    surface, effort = ca.SX.sym("surface", N_SURFACE), ca.SX.sym("u", robot.nu)
    mass = ca.diag(ca.DM(_inertia(robot)))
    there = q + 0.5 * dt * (v_0 + v_1)
    middle = q + 0.25 * dt * (v_0 + v_1)
    force = 0.5 * (force_of(robot, q, v_0, effort, surface) + force_of(robot, there, v_1, effort, surface))
    by_effort, impulse = ca.jacobian(force, effort), dt * ca.jacobian(force, surface)
    deficit = mass @ (v_0 - v_1) + dt * (force - by_effort @ effort) - impulse @ surface
    results = [there, ca.SX(mass), deficit, by_effort, impulse, ca.SX.zeros(3, 3), middle, 0.5 * (v_0 + v_1)]
    return ca.Function("balance", [q, v_0, v_1, dt, surface, effort], ca.cse([ca.densify(r) for r in results]))


def _force(robot: Ground) -> ca.Function:
    q, v, effort, surface = (ca.SX.sym(*a) for a in (("q", 3), ("v", 3), ("u", robot.nu), ("s", N_SURFACE)))
    force = force_of(robot, q, v, effort, surface)
    return ca.Function("force", [q, v, effort, surface], [force, ca.densify(ca.jacobian(force, effort))])
