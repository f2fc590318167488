# SPDX-License-Identifier: Apache-2.0
"""Scaled limits for the first tests of a robot: a scale s in (0, 1] of effort, effort rate and velocity.

    effort    an effort that passes differs from the resting effort by at most s times half its range
    rate      it changes by at most s times the effort rate
    velocity  the robot stops and latches above s times `overspeed_ratio` times a velocity limit

The resting effort is 0 where nothing has to be held (vehicles; arms that compensate gravity themselves). Otherwise it
is a low pass of the efforts sent, with the time constant `REST_S`: most of an arm's effort carries its own weight, and
a quadrotor's thrust its own, so that a fifth of the whole range could hold neither. The band therefore follows a
command that stays at its edge, by s times half the range in each `REST_S`.

The fallback law is not scaled: it may need the whole range to stop the robot.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.robot import Robot
from metarl_robot.safety.fallback_law import GateConfig, low_pass

Array = NDArray[np.float64]

REST_S = 0.5
"""Longer than the efforts of one acceleration, shorter than an arm's weight takes to change at a scaled velocity."""


class ScaledLimits:
    """The scaled limits of one robot's efforts, all (nu,).

    Arguments:
        robot: limits of its efforts and their rates.
        rest: the resting effort; None: that of the efforts sent.
    """

    def __init__(self, robot: Robot, rest: Array | None) -> None:
        self._half, self._rate = 0.5 * (robot.effort_limit - robot.effort_lower), robot.effort_rate_limit
        self._fixed, self._rest = rest is not None, rest
        self.scale = 1.0

    @property
    def rate(self) -> Array:
        """Largest change of an effort that passes, per second."""
        return self.scale * self._rate

    def clip(self, effort: Array) -> tuple[Array, bool]:
        """Nearest effort in the band around the resting effort, and whether it was limited."""
        if self.scale >= 1.0 or self._rest is None:
            return effort, False
        room = self.scale * self._half
        clipped = np.clip(effort, self._rest - room, self._rest + room)
        return clipped, bool((clipped != effort).any())

    def sent(self, effort: Array, dt_s: float) -> None:
        """Take an effort that was sent dt_s after the one before."""
        if self._rest is None:
            self._rest = effort.copy()
        elif not self._fixed:
            self._rest = self._rest + low_pass(dt_s, REST_S) * (effort - self._rest)


def scaled_config(config: GateConfig) -> GateConfig:
    """The configuration with the scale in its `overspeed_ratio`, for the law that watches the velocity."""
    if config.limit_scale >= 1.0:
        return config
    return config.model_copy(update={"overspeed_ratio": config.limit_scale * config.overspeed_ratio})
