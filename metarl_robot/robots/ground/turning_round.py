# SPDX-License-Identifier: Apache-2.0
"""A vehicle with a steered axle that faces away from its path turns round, forwards and slowly, and joins the path.

A plan that is linearised about the vehicle's heading does not contain a turn by more than a quarter: the vehicle would
follow its path in reverse, or circle. It is driven by pure pursuit instead (pure_pursuit.py) until it is near the path
and along it; while the point ahead is behind it, on the tightest arc. A spin at speed is left to the plan, unless it
does not end.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.signals import Setpoints
from metarl_robot.robots.ground.description import GRAVITY_M_S2, Ground
from metarl_robot.robots.ground.obstacles import Obstacles, clearance

Array = NDArray[np.float64]

AWAY_RAD, BACK_RAD = 1.75, 0.6
"""Heading errors at which a turn begins and ends."""
SLOW_M_S, SPIN_S = 0.5, 1.0
"""A vehicle faster than this may be spinning; it turns round when it has faced away for this long [s]."""
STEERING_SHARE, GRIP_SHARE, SPEED_SHARE = 0.85, 0.3, 0.3
"""Shares of the steering angle, the friction and the speed limit that a turn uses."""
AHEAD, NEAR = 2.0, 0.5
"""Distances, in radii of the tightest arc: of the point ahead, and from the path at the end of a turn."""


class TurningRound:
    """See the module's docstring."""

    def __init__(self, robot: Ground) -> None:
        self._robot = robot
        tightest = np.tan(STEERING_SHARE * robot.effort_limit[0]) / robot.wheelbase_m
        self._bend = float(tightest) if robot.is_steered else 0.0
        self.reset()

    def reset(self) -> None:
        """Forget the turn."""
        self._side, self._since_s = 0.0, np.inf

    def needed(self, time: float, pose: Array, speed_m_s: float, goal: Setpoints) -> bool:
        """Whether a vehicle at a pose (3,) must turn round to follow setpoints (N, …) from the nearest one on."""
        error = _angle(goal.q[0, 2] - pose[2])
        away_m = float(np.hypot(*(goal.q[0, :2] - pose[:2])))
        begun = self._side != 0.0
        follows = abs(error) < (BACK_RAD if begun else AWAY_RAD) and (not begun or away_m * self._bend < NEAR)
        if self._bend == 0.0 or follows or np.hypot(*goal.v[:, :2].T).max() < SLOW_M_S:
            self.reset()
            return False
        self._since_s = min(self._since_s, time)
        if not begun and (abs(speed_m_s) < SLOW_M_S or time - self._since_s > SPIN_S):
            self._side = 1.0 if error >= 0.0 else -1.0
        return self._side != 0.0

    def arc(
        self, pose: Array, goal: Setpoints, times: Array, friction: float, obstacles: Obstacles, margin_m: float
    ) -> Setpoints:
        """The way from a pose (3,) at times (N,) from now [s]; a halt, if an obstacle is nearer than a margin."""
        bend = self._curvature(pose, goal)
        grip, limit = GRIP_SHARE * friction * GRAVITY_M_S2, SPEED_SHARE * self._robot.velocity_limit[0]
        speed = min(np.sqrt(grip / self._bend), limit)
        if len(obstacles):
            way = _poses(pose, bend, np.linspace(0.0, np.pi / self._bend, 24))
            speed = speed if clearance(self._robot, obstacles, way).min() >= margin_m else 0.0
        q = _poses(pose, bend, speed * times)
        forward = np.column_stack([np.cos(q[:, 2]), np.sin(q[:, 2]), np.full(len(q), bend)])
        across = speed**2 * bend * np.column_stack([-forward[:, 1], forward[:, 0], np.zeros(len(q))])
        return Setpoints(q, speed * forward, across)

    def _curvature(self, pose: Array, goal: Setpoints) -> float:
        """Curvature [1/m] of pure pursuit, within the tightest one."""
        away = goal.q[:, :2] - pose[:2]
        distance = np.hypot(*away.T)
        beyond = np.flatnonzero(distance * self._bend >= AHEAD)
        k = int(beyond[0]) if len(beyond) else -1
        angle = _angle(float(np.arctan2(away[k, 1], away[k, 0])) - pose[2])
        if abs(angle) > 0.5 * np.pi:
            return self._side * self._bend
        return float(np.clip(2.0 * np.sin(angle) / max(distance[k], 1e-3), -self._bend, self._bend))


def _angle(turn: float) -> float:
    """An angle within ±π."""
    return float((turn + np.pi) % (2.0 * np.pi) - np.pi)


def _poses(pose: Array, bend: float, along: Array) -> Array:
    """Poses (N, 3) at distances (N,) [m] along an arc of a curvature [1/m] from a pose (3,)."""
    yaw = pose[2] + bend * along
    middle, chord = 0.5 * (yaw + pose[2]), along * np.sinc(0.5 * bend * along / np.pi)
    return np.column_stack([pose[0] + chord * np.cos(middle), pose[1] + chord * np.sin(middle), yaw])
