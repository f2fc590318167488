# SPDX-License-Identifier: Apache-2.0
"""Thrust and tilt that a loaded quadrotor in wind needs along a reference."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core import rotation
from metarl_robot.core.signals import Reference, Setpoints
from metarl_robot.robots.quadrotor.description import GRAVITY_M_S2, Quadrotor
from metarl_robot.sim.inertia import symmetric
from metarl_robot.sim.quadrotor.tasks import QuadrotorTask, Wind
from metarl_robot.sim.quadrotor.wind import strongest

Array = NDArray[np.float64]

CHECK_RATE_HZ = 50.0
_FASTEST_M_S = 50.0


def required_thrusts(robot: Quadrotor, task: QuadrotorTask, points: Setpoints) -> Array:
    """Commands (N, n) [N] that follow the setpoints under `task`, in its strongest wind.

    Drag is taken at the reference's attitude with rotors at hover speed. A payload on a sling counts as a point mass at
    the payload site.
    """
    return _thrusts(robot, task, points, _required_force(robot, task, points))


def _thrusts(robot: Quadrotor, task: QuadrotorTask, points: Setpoints, force: Array) -> Array:
    payload = task.payload
    lever = robot.payload_position + (0.0 if task.sling_m > 0.0 else 1.0) * payload.com_m
    attitude, rate = points.q[:, 3:], points.v[:, 3:]
    inertia = robot.inertia * task.inertia_scale + payload.mass_kg * (
        lever @ lever * np.eye(3) - np.outer(lever, lever)
    )
    if task.sling_m == 0.0:
        inertia = inertia + symmetric(payload.inertia_kg_m2)
    torque = points.a[:, 3:] @ inertia + rotation.cross(rate, rate @ inertia)
    moment = payload.mass_kg * lever + task.mass_scale * robot.mass_kg * task.com_m
    torque = torque + rotation.cross(moment[None], rotation.rotate_back(attitude, _pull(points)))
    wanted = np.concatenate([np.linalg.norm(force, axis=1, keepdims=True), torque], axis=1)
    return np.asarray(robot.unlimited_thrusts(wanted) / np.maximum(task.thrust_gain(robot), 1e-3))


def _tilt(force: Array) -> Array:
    """Angle (N,) between the required rotor force (N, 3) and the vertical [rad]."""
    return np.asarray(np.arctan2(np.linalg.norm(force[:, :2], axis=1), force[:, 2]))


def _required_force(robot: Quadrotor, task: QuadrotorTask, points: Setpoints) -> Array:
    """Force (N, 3) of all rotors [N; world]."""
    return (task.mass_scale * robot.mass_kg + task.payload.mass_kg) * _pull(points) - _drag(robot, task, points)


def _pull(points: Setpoints) -> Array:
    """Acceleration less gravity (N, 3) [m/s²; world]."""
    return points.a[:, :3] + np.array([0.0, 0.0, GRAVITY_M_S2])


def _drag(robot: Quadrotor, task: QuadrotorTask, points: Setpoints) -> Array:
    """Drag (N, 3) [N; world]."""
    air = rotation.rotate_back(points.q[:, 3:], points.v[:, :3] - strongest(task.wind))
    turning = robot.speeds(robot.hover_thrust).sum() * task.drag_scale[0]
    across, along = robot.rotor_drag
    speed = np.linalg.norm(air, axis=1, keepdims=True)
    force = -(turning * np.array([across, across, along]) + task.drag_scale[1] * robot.parasitic_drag * speed) * air
    return rotation.rotate(points.q[:, 3:], force)


def flight_use(robot: Quadrotor, task: QuadrotorTask, reference: Reference, start_s: float, end_s: float) -> float:
    """Largest share of a rotor's thrust or of the tilt limit needed to follow the reference, sampled at 50 Hz."""
    return _use(robot, task, reference.sample(np.arange(start_s, end_s, 1.0 / CHECK_RATE_HZ)))


def hover_use(robot: Quadrotor, task: QuadrotorTask) -> float:
    """Largest share of a rotor's thrust or of the tilt limit needed to hover in the strongest wind of the task."""
    return _use(robot, task, Setpoints(robot.home[None], np.zeros((1, robot.dof)), np.zeros((1, robot.dof))))


def _use(robot: Quadrotor, task: QuadrotorTask, points: Setpoints) -> float:
    force = _required_force(robot, task, points)
    thrust = np.max(_thrusts(robot, task, points, force) / robot.effort_limit)
    return float(max(thrust, np.max(_tilt(force)) / robot.tilt_limit_rad))


def holding_wind(robot: Quadrotor, share: float) -> float:
    """Wind [m/s], at most 50, in which the nominal quadrotor's hover needs a given share of thrust or tilt.

    Found by bisection.
    """
    low, high = 0.0, _FASTEST_M_S
    for _ in range(40):
        middle = 0.5 * (low + high)
        enough = hover_use(robot, QuadrotorTask(wind=Wind(mean_m_s=np.array([middle, 0.0, 0.0])))) <= share
        low, high = (middle, high) if enough else (low, middle)
    return low
