# SPDX-License-Identifier: Apache-2.0
"""Tyre forces and wheels of a simulated vehicle over one physics step, as one compiled function.

Unlike the nominal model (robots/ground/dynamics.py) the wheels have speeds of their own: they spin, and they lock.
Their equations are stiff, so that a step is linearly implicit in the wheel's speed:

    J (ω' - ω) / dt = T - r F_x(ω) - r ∂F_x/∂ω (ω' - ω) - rolling
"""

from __future__ import annotations

from functools import lru_cache

import casadi as ca
import numpy as np
from numpy.typing import NDArray

from metarl_robot.compile.compiled import NumpyFunction, compile_functions
from metarl_robot.robots.ground.description import Ground
from metarl_robot.robots.ground.dynamics import Load, body_velocity, loads, wheels, wrench
from metarl_robot.robots.ground.tyre import slip_force, speed_of
from metarl_robot.sim.ground.task import GroundTask

Array = NDArray[np.float64]

N_GROUND = 8
"""Entries of `ground_of`."""


class Tyres:
    """The tyres of one vehicle. speeds: (w,) of its wheels [rad/s]."""

    def __init__(self, robot: Ground, physics_dt_s: float) -> None:
        self._advance = NumpyFunction(compile_functions({"tyres": tyres_function(robot, physics_dt_s)})["tyres"])
        self._radius_m = robot.wheel_radius_m
        self.speeds = np.zeros(len(robot.track.positions))
        self._force = np.zeros(3)

    def reset(self, forward_m_s: float) -> None:
        """Roll freely at this speed."""
        self.speeds[:], self._force = forward_m_s / self._radius_m, np.zeros(3)

    def force(self, q: Array, v: Array, acting: Array, ground: Array) -> Array:
        """Generalised force (3,) [N, N, Nm; world] over one step under efforts that act (nu,); moves the wheels on."""
        force, speeds, body = self._advance(q, v, acting, self.speeds, self._force, ground)
        self.speeds[:], self._force = speeds, body.copy()
        return force.copy()


@lru_cache(maxsize=16)
def ground_of(task: GroundTask) -> Array:
    """The task's conditions in the form of the compiled function, (8,); not to be changed."""
    friction = (task.friction, task.friction * task.right_share)
    return np.array([*friction, task.stiffness_scale, task.rolling_resistance, task.payload_mass_kg,
                     *task.payload_position_m])  # fmt: skip


@lru_cache(maxsize=8)
def tyres_function(robot: Ground, dt: float) -> ca.Function:
    """(q, v, acting efforts, wheel speeds, last force of the body, ground_of) -> (force, wheel speeds, body force)."""
    q, v, acting = ca.SX.sym("q", 3), ca.SX.sym("v", 3), ca.SX.sym("acting", robot.nu)
    speeds, before, ground = ca.SX.sym("w", len(robot.track.positions)), ca.SX.sym("f", 3), ca.SX.sym("g", N_GROUND)
    left, right, stiffness, rolling, mass, *place = ca.vertsplit(ground)
    twist = body_velocity(q, v)
    motion = wheels(robot.track, twist, acting[0] if robot.is_steered else ca.SX(0.0))
    friction = ca.if_else(ca.DM(robot.track.positions[:, 1]) < 0.0, right, left)
    load = loads(robot.track, robot, before[:2], Load(mass, mass * place[0], mass * place[1], ca.SX(0.0)))
    speed, radius = speed_of(motion.along), robot.wheel_radius_m
    across = -stiffness * robot.track.cornering_stiffness * motion.across / speed
    along = stiffness * robot.slip_stiffness * (radius * speeds - motion.along) / speed
    forward, sideways = slip_force(load, friction, along, across)
    slope = ca.jtimes(forward, speeds, ca.SX.ones(speeds.shape))
    torque = robot.track.torque_share @ acting - radius * rolling * load * ca.tanh(10.0 * speeds * radius)
    turned = dt * (torque - radius * forward) / (robot.description.wheel_inertia_kg_m2 + dt * radius * slope)
    body = wrench(robot.track, motion, forward + slope * turned, sideways)
    c, s = ca.cos(q[2]), ca.sin(q[2])
    world = ca.vertcat(c * body[0] - s * body[1], s * body[0] + c * body[1], body[2])
    results = [ca.densify(ca.SX(value)) for value in (world, speeds + turned, body)]
    return ca.Function("tyres", [q, v, acting, speeds, before, ground], ca.cse(results))
