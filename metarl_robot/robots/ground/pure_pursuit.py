# SPDX-License-Identifier: Apache-2.0
"""Pure pursuit: drive the arc to a point ahead on the path (Coulter, CMU-RI-TR-92-01, 1992).

    κ = 2 sin(α) / l,    l = clip(l_t v, l_min, ∞)

α is the direction of the point ahead, seen from the rear axle. The speed is that of the nearest point of the path.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from metarl_robot.control.base import ControllerSpec
from metarl_robot.core.signals import Command, Reference, State
from metarl_robot.robots.ground.description import Ground
from metarl_robot.robots.ground.path_tracker import REVERSE, PathTracker
from metarl_robot.robots.ground.speed_loop import SpeedLoopConfig

Array = NDArray[np.float64]

LOOK_AHEAD_S = 2.0
"""Part of the reference in which the point ahead is looked for [s]."""


class PurePursuitConfig(SpeedLoopConfig):
    """Look-ahead, and gains of the speed."""

    ahead_s: float = Field(0.25, ge=0.0, le=5.0, description="look-ahead as a time at the present speed [s]")
    least_ahead_m: float = Field(0.6, gt=0.0, le=50.0, description="shortest look-ahead [m]")


class PurePursuit(PathTracker[PurePursuitConfig]):
    """See the module's docstring."""

    def __init__(self, robot: Ground, config: PurePursuitConfig) -> None:
        super().__init__(robot, config)
        self._rear_m = float(robot.track.positions[~robot.track.steered, 0].min()) if robot.is_steered else 0.0

    def step(self, time: float, state: State, reference: Reference) -> Command:
        self._loop.at(time)
        q, v, config = state.q, state.v, self._config
        heading = np.array([np.cos(q[2]), np.sin(q[2])])
        forward = float(heading @ v[:2])
        ahead_m = max(config.ahead_s * abs(forward), config.least_ahead_m)
        found = self._route.nearest(reference, time, q, forward, LOOK_AHEAD_S)
        if found is None:
            return self._loop.brake("the reference is not finite")
        if found.reverses:
            return self._loop.brake(REVERSE)
        rear = q[:2] + self._rear_m * heading
        away = np.linalg.norm(found.points.q[:, :2] - rear, axis=1)
        beyond = np.flatnonzero(away >= ahead_m)
        k = int(beyond[0]) if len(beyond) else -1
        to_goal = found.points.q[k, :2] - rear
        sideways = float(heading[0] * to_goal[1] - heading[1] * to_goal[0])
        curvature = 2.0 * sideways / max(float(to_goal @ to_goal), 1e-4)
        command = self._loop.command((found.speed_m_s, forward), found.acceleration_m_s2, curvature, float(v[2]))
        return replace(command, target=self._route.target)


SPEC = ControllerSpec(PurePursuitConfig, lambda robot, config, checkpoint, oracle: PurePursuit(robot, config))
