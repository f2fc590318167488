# SPDX-License-Identifier: Apache-2.0
"""Base of the geometric controllers: the nearest point of the path, and the inner speed loops."""

from __future__ import annotations

from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.signals import Command
from metarl_robot.robots.ground.description import Ground
from metarl_robot.robots.ground.route import Route
from metarl_robot.robots.ground.speed_loop import SpeedLoop, SpeedLoopConfig

Array = NDArray[np.float64]
Config = TypeVar("Config", bound=SpeedLoopConfig)

REVERSE = "the reference drives in reverse, and this controller only forwards; meta_mpc and offset_free_mpc do both"


class PathTracker(Generic[Config]):
    """Base of a controller that defines `step`; see metarl_robot.control.base.Controller."""

    def __init__(self, robot: Ground, config: Config) -> None:
        self._config, self._loop, self._route = config, SpeedLoop(robot, config), Route(robot, config)

    def reset(self) -> None:
        self._loop.reset()
        self._route.reset()

    def fallback(self, time: float, reason: str) -> Command:
        """Command without a valid state."""
        self._loop.at(time)
        return self._loop.brake(reason)

    def observe_obstacles(self, discs: Array) -> None:
        """See Route.observe."""
        self._route.observe(discs)

    def follow(self, effort: Array) -> None:
        """See SpeedLoop.follow."""
        self._loop.follow(effort)
