"""Can the rotors do it? Thrusts that a loaded quadrotor in wind needs along a reference."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metarl_robot import rotation
from metarl_robot.quadrotor import GRAVITY_M_S2, Quadrotor
from metarl_robot.signals import Reference, Setpoints
from metarl_robot.sim.geometry import symmetric
from metarl_robot.sim.quadrotor.tasks import QuadrotorTask, Wind
from metarl_robot.sim.quadrotor.wind import strongest

Array = NDArray[np.float64]

CHECK_RATE_HZ = 50.0
_FASTEST_M_S = 50.0


def required_thrusts(robot: Quadrotor, task: QuadrotorTask, points: Setpoints) -> Array:
    """(N, 4) commands [N] that follow the setpoints under `task`, in the strongest wind that it has.

    Drag is taken at the reference's attitude with rotors at hover speed; a payload on a sling counts as a point mass at the payload site.
    """
    payload = task.payload
    lever = robot.payload_position + (0.0 if task.sling_m > 0.0 else 1.0) * payload.com_m
    mass = robot.mass_kg + payload.mass_kg
    attitude, rate = points.q[:, 3:], points.v[:, 3:]
    pull = points.a[:, :3] + np.array([0.0, 0.0, GRAVITY_M_S2])
    thrust = np.linalg.norm(mass * pull - _drag(robot, task, points), axis=1)
    inertia = robot.inertia + payload.mass_kg * (lever @ lever * np.eye(3) - np.outer(lever, lever))
    if task.sling_m == 0.0:
        inertia = inertia + symmetric(payload.inertia_kg_m2)
    torque = points.a[:, 3:] @ inertia + rotation.cross(rate, rate @ inertia)
    torque = torque + payload.mass_kg * rotation.cross(lever[None], rotation.rotate_back(attitude, pull))
    wanted = np.concatenate([thrust[:, None], torque], axis=1)
    return np.asarray(np.linalg.solve(robot.allocation, wanted.T).T / np.maximum(task.thrust_gain, 1e-3))


def _drag(robot: Quadrotor, task: QuadrotorTask, points: Setpoints) -> Array:
    """(N, 3) drag [N; world]."""
    air = rotation.rotate_back(points.q[:, 3:], points.v[:, :3] - strongest(task.wind))
    turning = robot.speeds(robot.hover_thrust).sum() * task.drag_scale[0]
    across, along = robot.rotor_drag
    speed = np.linalg.norm(air, axis=1, keepdims=True)
    force = -(turning * np.array([across, across, along]) + task.drag_scale[1] * robot.parasitic_drag * speed) * air
    return rotation.rotate(points.q[:, 3:], force)


def thrust_use(robot: Quadrotor, task: QuadrotorTask, reference: Reference, start_s: float, end_s: float) -> float:
    """Largest share of a rotor's thrust limit that following the reference from start_s to end_s takes, sampled at 50 Hz."""
    points = reference.sample(np.arange(start_s, end_s, 1.0 / CHECK_RATE_HZ))
    return float(np.max(required_thrusts(robot, task, points) / robot.effort_limit))


def hover_use(robot: Quadrotor, task: QuadrotorTask) -> float:
    """Largest share of a rotor's thrust limit that a hover takes in the strongest wind of the task."""
    rest = Setpoints(robot.home[None], np.zeros((1, robot.dof)), np.zeros((1, robot.dof)))
    return float(np.max(required_thrusts(robot, task, rest) / robot.effort_limit))


def holding_wind(robot: Quadrotor, share: float) -> float:
    """The wind [m/s] in which the nominal quadrotor's hover takes that share of its thrust, by bisection; 50 at most."""
    low, high = 0.0, _FASTEST_M_S
    for _ in range(40):
        middle = 0.5 * (low + high)
        enough = hover_use(robot, QuadrotorTask(wind=Wind(mean_m_s=np.array([middle, 0.0, 0.0])))) <= share
        low, high = (middle, high) if enough else (low, middle)
    return low
