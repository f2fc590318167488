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

from metarl_robot.robots.ground.description import GRAVITY_M_S2, Ground, Track
from metarl_robot.robots.ground.tyre import lateral_force, speed_of

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


def tyre_wrench(robot: Ground, twist: ca.SX, effort: ca.SX) -> ca.SX:
    """Force (2,) [N; body] and torque [Nm] at a body twist (3,) under commands (nu,) that act.

    Wheels of one axle that get the same torque count as one in the middle (single-track model).
    """
    steering = effort[0] if robot.is_steered else ca.SX(0.0)
    track = robot.single_track
    motion = wheels(track, twist, steering)
    speed = speed_of(motion.along)
    drive = track.torque_share @ effort / robot.wheel_radius_m
    load = loads(track, robot, ca.vertcat(ca.sum1(drive), 0.0))
    grip = robot.friction * load  # limits the drive force smoothly: by 1 % at 70 % of the grip
    drive = drive / ca.sqrt(ca.sqrt(ca.sqrt(1.0 + (((drive / grip) ** 2) ** 2) ** 2)))
    rolling = robot.rolling * load * motion.along / speed
    across = lateral_force(load, robot.friction, -track.cornering_stiffness * motion.across / speed, drive)
    return wrench(track, motion, drive - rolling, across)


def flow(robot: Ground, x: ca.SX, u: ca.SX, residual: ca.SX) -> ca.SX:
    """Rate of (q, v, acting effort) (6 + nu,) under commands u (nu,) and a residual (3,) [N, N, Nm; world]."""
    q, v, acting = x[:3], x[3:6], x[6:]
    force = tyre_wrench(robot, body_velocity(q, v), acting)
    c, s = ca.cos(q[2]), ca.sin(q[2])
    world = ca.vertcat(c * force[0] - s * force[1], s * force[0] + c * force[1], force[2]) + residual
    inertia = ca.DM([robot.mass_kg, robot.mass_kg, robot.yaw_inertia])
    return ca.vertcat(v, world / inertia, (u - acting) / ca.DM(robot.lag_s))
