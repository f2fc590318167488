# SPDX-License-Identifier: Apache-2.0
"""Dynamics of a ground vehicle: a planar rigid body with tyre forces at its wheels.

    M(p) a = Σ T(r_i) R(δ_i) F_i + c(p) + Rᵀ Δ,    v̇ = R(ψ) a

a is the acceleration of the vehicle's reference point (its centre of mass without a load), in the directions of its
body, and the yaw acceleration. F_i are the forces of wheel i in its own frame. Wheels follow their torques without
slip dynamics: the longitudinal force is T_i / r less rolling resistance, limited by friction; their inertia counts as
mass along the vehicle. The simulation also has the wheels' speeds (sim/ground/). Loads are those of a rigid plate on
equal springs; acceleration shifts them by the height of the centre of mass.

The parameters p describe how the physics differs from the description's (`parameter_names`); p = 0 is nominal:

    surface                      logarithms of the tyres' friction and slip stiffness over the description's, and
                                 rolling resistance beyond it
    load                         mass m_l [kg], its moments m_l x, m_l y [kg m] and inertia [kg m²], about the reference
                                 point
    slope                        rise of the ground along world x and y
    actuators                    offset of the steering [rad] and relative error of the drive's torque, or relative
                                 errors of both sides' torques
"""

from __future__ import annotations

from typing import NamedTuple

import casadi as ca
import numpy as np
from numpy.typing import NDArray

from metarl_robot.compile.compiled import NumpyFunction, compile_functions
from metarl_robot.dynamics.euclidean import EuclideanPosition
from metarl_robot.dynamics.momentum_balance import Balance
from metarl_robot.robots.ground.context_names import FRICTION, MASS, ROLLING, SLOPES, STIFFNESS
from metarl_robot.robots.ground.description import GRAVITY_M_S2, Ground, Track
from metarl_robot.robots.ground.tyre import lateral_force, speed_of

Array = NDArray[np.float64]

SURFACE, LOAD, SLOPE, ACTUATORS = slice(0, 3), slice(3, 7), slice(7, 9), slice(9, 11)
"""Places of the parameters' groups in p."""
N_PARAMETERS = 11
LEAST_LOAD = 0.05
"""Least load of a wheel, as a share of its static load."""


class Wheels(NamedTuple):
    """Velocities (w, 2) of wheels' centres in their own frames, and their steering angles (w,)."""

    along: ca.SX
    across: ca.SX
    angle: ca.SX


class Load(NamedTuple):
    """A load: mass [kg], its moments about the reference point [kg m; body] and its inertia about it [kg m²]."""

    mass: ca.SX
    x: ca.SX
    y: ca.SX
    inertia: ca.SX


def body_velocity(q: ca.SX, v: ca.SX) -> ca.SX:
    """(forward, left) velocity [m/s; body] and yaw rate [rad/s]."""
    return to_body(q[2], v)


def to_body(yaw: ca.SX, world: ca.SX) -> ca.SX:
    """A planar vector (3,) with world directions, in body directions."""
    c, s = ca.cos(yaw), ca.sin(yaw)
    return ca.vertcat(c * world[0] + s * world[1], c * world[1] - s * world[0], world[2])


def to_world(yaw: ca.SX, body: ca.SX) -> ca.SX:
    """A planar vector (3,) with body directions, in world directions."""
    return to_body(-yaw, body)


def wheels(track: Track, twist: ca.SX, steering: ca.SX) -> Wheels:
    """Motion of the wheels at a body twist (3,) and a steering angle [rad]."""
    x, y = track.positions.T
    forward, left = twist[0] - twist[2] * y, twist[1] + twist[2] * x
    angle = steering * ca.DM(track.steered)
    c, s = ca.cos(angle), ca.sin(angle)
    return Wheels(c * forward + s * left, c * left - s * forward, angle)


def loads(track: Track, robot: Ground, force: ca.SX, load: Load) -> ca.SX:
    """Loads (w,) [N] on level ground under a total horizontal force (2,) [N; body]; see Track.load_share."""
    weight, share = robot.mass_kg * GRAVITY_M_S2, track.load_share
    wanted = ca.vertcat(
        weight + GRAVITY_M_S2 * load.mass,
        GRAVITY_M_S2 * load.x - robot.com_height * force[0],
        GRAVITY_M_S2 * load.y - robot.com_height * force[1],
    )
    return ca.fmax(share @ wanted, LEAST_LOAD * weight * share[:, 0])


def wrench(track: Track, motion: Wheels, along: ca.SX, across: ca.SX) -> ca.SX:
    """Force (2,) [N; body] and torque [Nm] of wheel forces (w,) in the wheels' frames."""
    c, s = ca.cos(motion.angle), ca.sin(motion.angle)
    forward, left = c * along - s * across, s * along + c * across
    x, y = track.positions.T
    return ca.vertcat(ca.sum1(forward), ca.sum1(left), ca.dot(x, left) - ca.dot(y, forward))


def parameter_names(robot: Ground) -> tuple[str, ...]:
    """Names (N_PARAMETERS,) of the parameters p, in order."""
    actuators = (
        ("steering_offset_rad", "drive_strength_error")
        if robot.is_steered
        else tuple(f"{name}_strength_error" for name in robot.channel_names)
    )
    load = (MASS, "payload_moment_x_kg_m", "payload_moment_y_kg_m", "payload_inertia_kg_m2")
    surface = (FRICTION, STIFFNESS, ROLLING)
    return (*surface, *load, *SLOPES, *actuators)


def _acting(robot: Ground, effort: ca.SX, p: ca.SX) -> ca.SX:
    """Efforts (nu,) that act, for those of the actuators."""
    first, second = p[9], p[10]
    if robot.is_steered:
        return ca.vertcat(effort[0] + first, (1.0 + second) * effort[1])
    return ca.vertcat((1.0 + first) * effort[0], (1.0 + second) * effort[1])


def tyre_wrench(robot: Ground, twist: ca.SX, effort: ca.SX, p: ca.SX) -> ca.SX:
    """Force (2,) [N; body] and torque [Nm] at a body twist (3,) under efforts (nu,).

    Wheels of one axle that get the same torque count as one in the middle (single-track model).
    """
    acting = _acting(robot, effort, p)
    track = robot.single_track
    motion = wheels(track, twist, acting[0] if robot.is_steered else ca.SX(0.0))
    speed = speed_of(motion.along)
    drive = track.torque_share @ acting / robot.wheel_radius_m
    load = loads(track, robot, ca.vertcat(ca.sum1(drive), 0.0), Load(*ca.vertsplit(p[LOAD])))
    friction, stiffness = robot.friction * ca.exp(p[0]), ca.exp(p[1]) * track.cornering_stiffness
    grip = friction * load  # limits the drive force smoothly: by 1 % at 70 % of the grip
    drive = drive / ca.sqrt(ca.sqrt(ca.sqrt(1.0 + (((drive / grip) ** 2) ** 2) ** 2)))
    rolling = (robot.rolling + p[2]) * load * motion.along / speed
    across = lateral_force(load, friction, -stiffness * motion.across / speed, drive)
    return wrench(track, motion, drive - rolling, across)


def mass_of(robot: Ground, p: ca.SX) -> ca.SX:
    """M(p) (3, 3), in body directions."""
    load = Load(*ca.vertsplit(p[LOAD]))
    mass, inertia = robot.mass_kg + load.mass, robot.yaw_inertia + load.inertia
    return ca.vertcat(
        ca.horzcat(mass + robot.rolling_mass_kg, 0.0, -load.y),
        ca.horzcat(0.0, mass, load.x),
        ca.horzcat(-load.y, load.x, inertia),
    )


def force_of(robot: Ground, q: ca.SX, v: ca.SX, effort: ca.SX, p: ca.SX) -> ca.SX:
    """Right-hand side (3,) of the equation of motion without Δ, in body directions: tyres, slope, centrifugal force."""
    twist, load = to_body(q[2], v), Load(*ca.vertsplit(p[LOAD]))
    square, rise = twist[2] ** 2, to_body(q[2], ca.vertcat(p[7], p[8], 0.0))
    tyres = tyre_wrench(robot, twist, effort, p)
    weight, mass = GRAVITY_M_S2 * rise, robot.mass_kg + load.mass
    return tyres + ca.vertcat(
        load.x * square - robot.rolling_mass_kg * twist[2] * twist[1] - mass * weight[0],
        load.y * square - mass * weight[1],
        load.y * weight[0] - load.x * weight[1],
    )


def flow(robot: Ground, x: ca.SX, u: ca.SX, residual: ca.SX, p: ca.SX) -> ca.SX:
    """Rate of (q, v, effort that acts) (6 + nu,) under commands u (nu,) and a residual (3,) [N, N, Nm; world]."""
    q, v, acting = x[:3], x[3:6], x[6:]
    force = force_of(robot, q, v, acting, p) + to_body(q[2], residual)
    return ca.vertcat(v, to_world(q[2], _accelerated(robot, force, p)), (u - acting) / ca.DM(robot.lag_s))


def _accelerated(robot: Ground, force: ca.SX, p: ca.SX) -> ca.SX:
    """M⁻¹ f in closed form, by the Schur complement of the inertia."""
    mass = mass_of(robot, p)
    along, across, x, y = mass[0, 0], mass[1, 1], mass[2, 1], -mass[2, 0]
    turning = (force[2] + y * force[0] / along - x * force[1] / across) / (mass[2, 2] - y * y / along - x * x / across)
    return ca.vertcat((force[0] + y * turning) / along, (force[1] - x * turning) / across, turning)


class GroundDynamics(EuclideanPosition):
    """Momentum form of a ground vehicle, for estimators (dynamics/protocols.py). Not to be shared between threads.

    The attached parameters are p. Forces are linearised about the given ones, as the filter linearises about its
    estimate.
    """

    attached = N_PARAMETERS

    def __init__(self, robot: Ground) -> None:
        self.robot, self.dof, self.nu = robot, robot.dof, robot.nu
        compiled = compile_functions({"balance": _balance(robot), "force": _force(robot)})
        self._balance, self._force = (NumpyFunction(compiled[name]) for name in ("balance", "force"))
        self._still, self._nothing = np.zeros(3), np.zeros(N_PARAMETERS)

    def momentum(self, q: Array, v: Array) -> tuple[Array, Array, Array]:
        mass = self.mass_matrix(q)
        return mass, mass @ v, np.zeros(self.dof)

    def mass_matrix(self, q: Array) -> Array:
        """Nominal mass matrix M (3, 3) in world directions."""
        return self._force(q, self._still, np.zeros(self.nu), self._nothing)[2].copy()

    def balance(self, q: Array, v_0: Array, v_1: Array, dt: float, attached: Array, effort: Array) -> Balance:
        return Balance(*self._balance(q, v_0, v_1, np.array([dt]), attached, effort))

    def input_map(self, q: Array) -> Array:
        """B at standstill and zero effort (3, nu)."""
        return self._force(q, self._still, np.zeros(self.nu), self._nothing)[1].copy()

    def attached_forces(self, q: Array, v: Array, a: Array, effort: Array, attached: Array) -> Array:
        """Generalised forces (N, n) that stand for the parameters p in the nominal equation of motion."""

        def missing(p: Array) -> Array:
            rows = np.empty_like(a)
            for row, *at, rate in zip(rows, q, v, effort, a, strict=True):
                force, _, mass = self._force(*at, p)
                row[:] = force - mass @ rate
            return rows

        return np.asarray(missing(attached) - missing(self._nothing))

    def force(self, q: Array, v: Array, effort: Array, p: Array) -> Array:
        """Generalised force (3,) [N, N, Nm; world] without Δ."""
        return self._force(q, v, effort, p)[0].copy()


def _turned(yaw: ca.SX, matrix: ca.SX) -> ca.SX:
    """A matrix (3, 3) with body directions, in world directions."""
    turn = ca.horzcat(*(to_world(yaw, ca.SX(ca.DM.eye(3))[:, k]) for k in range(3)))
    return turn @ matrix @ turn.T


def _balance(robot: Ground) -> ca.Function:
    q, v_0, v_1, dt = ca.SX.sym("q", 3), ca.SX.sym("v_0", 3), ca.SX.sym("v_1", 3), ca.SX.sym("dt")
    p, effort = ca.SX.sym("p", N_PARAMETERS), ca.SX.sym("u", robot.nu)
    there, middle = q + 0.5 * dt * (v_0 + v_1), q + 0.25 * dt * (v_0 + v_1)
    force = 0.5 * (
        to_world(q[2], force_of(robot, q, v_0, effort, p)) + to_world(there[2], force_of(robot, there, v_1, effort, p))
    )
    mass = _turned(middle[2], mass_of(robot, p))
    nominal = _turned(middle[2], mass_of(robot, ca.SX.zeros(N_PARAMETERS)))
    missing = mass @ (v_0 - v_1) + dt * force
    by_effort, impulse = ca.jacobian(force, effort), ca.jacobian(missing, p)
    deficit = missing - dt * by_effort @ effort - impulse @ p
    results = [there, nominal, deficit, by_effort, impulse, mass - nominal, middle, 0.5 * (v_0 + v_1)]
    return ca.Function("balance", [q, v_0, v_1, dt, p, effort], ca.cse([ca.densify(r) for r in results]))


def _force(robot: Ground) -> ca.Function:
    q, v, effort, p = (ca.SX.sym(*a) for a in (("q", 3), ("v", 3), ("u", robot.nu), ("p", N_PARAMETERS)))
    force = to_world(q[2], force_of(robot, q, v, effort, p))
    mass = _turned(q[2], mass_of(robot, p))
    results = [force, ca.jacobian(force, effort), mass]
    return ca.Function("force", [q, v, effort, p], [ca.densify(result) for result in results])
