# SPDX-License-Identifier: Apache-2.0
"""References along which an arm's tool goes straight away from home and comes back."""

from __future__ import annotations

import mujoco
import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.robot import Robot
from metarl_robot.robots.payload import payload_site
from metarl_robot.sim.arm.geometry import end_effector_positions
from metarl_robot.sim.arm.obstacle import smooth_step
from metarl_robot.trajectories.splines import Spline, from_points

Array = NDArray[np.float64]

BEGIN_S, GO_S, STAY_S = 1.0, 1.0, 1.0
_POINTS = 12
_LONG_S = 60.0
_MOBILE = 0.3
"""A direction is possible if at least as much of it remains in the space of the tool's motions."""


def jacobian(robot: Robot, q: Array) -> Array:
    """Jacobian (3, n) of the payload site's position."""
    model = robot.mj_model
    data, found = mujoco.MjData(model), np.zeros((3, model.nv))
    data.qpos[:] = q
    mujoco.mj_kinematics(model, data)
    mujoco.mj_comPos(model, data)
    mujoco.mj_jacSite(model, data, found, None, model.site(payload_site(robot)).id)
    return found


def possible_direction(robot: Robot, wanted: Array) -> Array:
    """Unit vector (3,) near the one wanted in which the tool can move at home, else the one in which it moves best."""
    axes, sizes, _ = np.linalg.svd(jacobian(robot, robot.home), full_matrices=False)
    mobile = axes[:, sizes > 0.1 * sizes[0]]
    along = mobile @ (mobile.T @ wanted)
    size = float(np.linalg.norm(along))
    return along / size if size > _MOBILE else axes[:, 0]


def there_and_back(robot: Robot, way_m: Array) -> Spline:
    """The tool goes by way_m (3,) [m; world] from BEGIN_S on in GO_S, stays for STAY_S and comes back."""
    shares = np.linspace(0.0, 1.0, _POINTS + 1)[1:]
    there = [robot.home]
    for share in np.asarray(smooth_step(shares)):
        there.append(_inverse(robot, there[-1], share * way_m))
    back_s = BEGIN_S + GO_S + STAY_S
    times = [0.0, BEGIN_S, *(BEGIN_S + GO_S * shares), back_s, *(back_s + GO_S * shares), _LONG_S]
    points = [robot.home, *there, *there[::-1], robot.home]
    return from_points(times, np.array(points))


def _inverse(robot: Robot, q: Array, way_m: Array) -> Array:
    """Position near q with the tool at its place at home plus way_m."""
    target, q = end_effector_positions(robot, robot.home[None])[0] + way_m, q.copy()
    for _ in range(50):
        by_q = jacobian(robot, q)
        gap = target - end_effector_positions(robot, q[None])[0]
        q += by_q.T @ np.linalg.solve(by_q @ by_q.T + 1e-8 * np.eye(3), gap)
    return q
