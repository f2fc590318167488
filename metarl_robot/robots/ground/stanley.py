# SPDX-License-Identifier: Apache-2.0
"""The Stanley controller: heading error plus cross-track error at the front axle (Hoffmann et al., ACC 2007).

    δ = ψ_e + atan(k e / (k_0 + v)) + k_d (r_measured - r_path)

ψ_e and e are the errors of heading and position from the nearest point of the path. A skid-steered vehicle turns as if
its front wheels were steered by δ, about its centre, which moves straight ahead.
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


class StanleyConfig(SpeedLoopConfig):
    """Gains of steering and speed."""

    cross_track: float = Field(2.5, ge=0.0, le=50.0, description="gain of the cross-track error [1/s]")
    softening_m_s: float = Field(0.5, gt=0.0, le=10.0, description="speed added to the present one [m/s]")
    yaw_damping_s: float = Field(0.05, ge=0.0, le=2.0, description="gain of the yaw rate error [s]")


class Stanley(PathTracker[StanleyConfig]):
    """See the module's docstring."""

    def __init__(self, robot: Ground, config: StanleyConfig) -> None:
        super().__init__(robot, config)
        self._front_m = float(robot.track.positions[:, 0].max())
        self._lever_m = robot.wheelbase_m if robot.is_steered else self._front_m

    def step(self, time: float, state: State, reference: Reference) -> Command:
        self._loop.at(time)
        q, v, config = state.q, state.v, self._config
        heading = np.array([np.cos(q[2]), np.sin(q[2])])
        forward, front = float(heading @ v[:2]), q[:2] + self._front_m * heading
        found = self._route.nearest(reference, time, np.array([*front, q[2]]), forward)
        if found is None:
            return self._loop.brake("the reference is not finite")
        if found.reverses:
            return self._loop.brake(REVERSE)
        goal, turning = found.points.q[0], found.points.v[0, 2]
        off = goal[:2] - front
        across = float(np.cos(goal[2]) * off[1] - np.sin(goal[2]) * off[0])
        error = (goal[2] - q[2] + np.pi) % (2.0 * np.pi) - np.pi
        angle = error + np.arctan2(config.cross_track * across, config.softening_m_s + abs(forward))
        angle += config.yaw_damping_s * (turning - v[2])
        curvature = float(np.tan(np.clip(angle, -1.4, 1.4))) / self._lever_m
        command = self._loop.command((found.speed_m_s, forward), found.acceleration_m_s2, curvature, float(v[2]))
        return replace(command, target=self._route.target)


SPEC = ControllerSpec(StanleyConfig, lambda robot, config, checkpoint, oracle: Stanley(robot, config))
