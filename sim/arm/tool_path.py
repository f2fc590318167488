# SPDX-License-Identifier: Apache-2.0
"""References along which an arm's tool goes straight away from home and comes back."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.robot import Robot
from metarl_robot.sim.arm.geometry import EndEffector, home_position
from metarl_robot.sim.arm.obstacle import smooth_step
from metarl_robot.trajectories.splines import Spline, from_points

Array = NDArray[np.float64]

BEGIN_S, GO_S, STAY_S = 1.0, 1.0, 1.0
_POINTS = 12
_LONG_S = 60.0
_MOBILE = 0.3
"""A direction is possible if at least as much of it remains in the space of the tool's motions."""


def possible_direction(robot: Robot, wanted: Array) -> Array:
    """Unit vector (3,) near the one wanted in which the tool can move at home, else the one in which it moves best."""
    axes, sizes, _ = np.linalg.svd(EndEffector(robot).jacobian(robot.home), full_matrices=False)
    mobile = axes[:, sizes > 0.1 * sizes[0]]
    along = mobile @ (mobile.T @ wanted)
    size = float(np.linalg.norm(along))
    return along / size if size > _MOBILE else axes[:, 0]


def there_and_back(robot: Robot, way_m: Array) -> Spline:
    """The tool goes by way_m (3,) [m; world] from BEGIN_S on in GO_S, stays for STAY_S and comes back."""
    shares = np.linspace(0.0, 1.0, _POINTS + 1)[1:]
    tool, start, there = EndEffector(robot), home_position(robot), [robot.home]
    for share in np.asarray(smooth_step(shares)):
        there.append(_inverse(tool, there[-1], start + share * way_m))
    back_s = BEGIN_S + GO_S + STAY_S
    times = [0.0, BEGIN_S, *(BEGIN_S + GO_S * shares), back_s, *(back_s + GO_S * shares), _LONG_S]
    points = [robot.home, *there, *there[::-1], robot.home]
    return from_points(times, np.array(points))


def _inverse(tool: EndEffector, q: Array, target: Array) -> Array:
    """Joint positions near q with the tool at the target (3,) [m; world], by damped least squares."""
    q = q.copy()
    for _ in range(50):
        gap = target - tool.positions(q[None])[0]
        by_q = tool.jacobian(q)
        q += by_q.T @ np.linalg.solve(by_q @ by_q.T + 1e-8 * np.eye(3), gap)
    return q
