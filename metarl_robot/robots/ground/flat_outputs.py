# SPDX-License-Identifier: Apache-2.0
"""Flat outputs of a ground vehicle: x, y [m; world] and yaw [rad], of which x and y determine the motion.

References are paths with speeds. Between two references, the differences of x, y, yaw and their rates fade out along a
quintic; a small difference causes little sideslip.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.signals import Reference, Setpoints, State
from metarl_robot.robots.ground import courses
from metarl_robot.robots.ground.description import GRAVITY_M_S2, Ground
from metarl_robot.robots.ground.motion_limits import check_motion_limits
from metarl_robot.robots.ground.path_reference import GRIP_SHARE, PathReference, driven
from metarl_robot.robots.ground.raceline import raceline
from metarl_robot.robots.ground.speed_profile import cruising
from metarl_robot.trajectories.euclidean_outputs import EASE_S, EuclideanOutputs
from metarl_robot.trajectories.flat_outputs import check_motion
from metarl_robot.trajectories.splines import Hold

Array = NDArray[np.float64]

BRAKING_SHARE = 0.4
"""Share of the nominal grip with which a vehicle brakes to rest."""
STANDING_M_S = 0.05
FAR = 1.0
"""Distance beyond which a reference is not faded into another one, in wheelbases."""


@dataclass(frozen=True, eq=False)
class Braking:
    """Brake from a state along the arc of its curvature, with a constant deceleration [m/s²]."""

    start_s: float
    q: Array
    speed: float
    curvature: float
    deceleration: float

    def sample(self, times: Array) -> Setpoints:
        """Setpoints at times (N,) [s]."""
        stop_s = abs(self.speed) / self.deceleration
        since, sign = np.clip(times - self.start_s, 0.0, stop_s), np.sign(self.speed)
        moving = (times - self.start_s >= 0.0) & (times - self.start_s < stop_s)
        speed = self.speed - sign * self.deceleration * since
        along = self.speed * since - 0.5 * sign * self.deceleration * since**2
        yaw, k = self.q[2] + self.curvature * along, self.curvature
        chord = along * np.sinc(0.5 * k * along / np.pi)
        middle = 0.5 * (yaw + self.q[2])
        place = self.q[:2] + chord[:, None] * np.column_stack([np.cos(middle), np.sin(middle)])
        forward = np.column_stack([np.cos(yaw), np.sin(yaw)])
        left = np.column_stack([-forward[:, 1], forward[:, 0]])
        rate = np.where(moving, -sign * self.deceleration, 0.0)
        velocity = np.column_stack([speed[:, None] * forward, speed * k])
        linear = rate[:, None] * forward + (speed**2 * k)[:, None] * left
        return Setpoints(np.column_stack([place, yaw]), velocity, np.column_stack([linear, rate * k]))


class GroundOutputs(EuclideanOutputs):
    """Flat outputs of a ground vehicle; see FlatOutputs."""

    motion_names = ("hold", "oval", "circle", "figure_eight", "slalom", "lane_change", "raceway")
    motion_files = (".csv",)

    def __init__(self, robot: Ground) -> None:
        super().__init__(robot)
        self._vehicle = robot

    def motion(self, name: str, rng: np.random.Generator, duration_s: float) -> Reference:
        check_motion(self, name)
        robot = self._vehicle
        if name == "hold":
            return Hold(robot.home)
        if name.endswith(self.motion_files):
            return raceline(robot, name)
        path = courses.raceway(robot, rng) if name == "raceway" else getattr(courses, name)(robot)
        return driven(robot, path, GRIP_SHARE * robot.friction, cruising(robot, path))

    def paced(self, reference: Reference, pace: float) -> Reference:
        if isinstance(reference, PathReference) and reference.start_s == 0.0:
            first = None if reference.first is None else reference.first * pace
            return replace(reference, speed=reference.speed * pace, first=first)
        return super().paced(reference, pace)

    def gaps(self, old: Reference, new: Reference, time_s: float) -> Array:
        """Gaps of position and velocity; the acceleration may jump, as in any speed profile.

        A fade of the acceleration would displace the path, by metres where a vehicle starts fast. A fade from a place
        FAR lengths away, or of a speed that takes as long a way to reach, would move sideways and backwards. There are
        no gaps then: the controller drives to the nearest point of the new path (nearby.py).
        """
        gaps = super().gaps(old, new, time_s)
        gaps[2] = 0.0
        reach_m = FAR * self._vehicle.wheelbase_m
        far = max(np.hypot(*gaps[0, :2]), np.hypot(*gaps[1, :2]) * EASE_S) > reach_m
        return np.zeros_like(gaps) if far else gaps

    def brake(self, state: State, time_s: float) -> Reference:
        heading = np.array([np.cos(state.q[2]), np.sin(state.q[2])])
        speed = float(heading @ state.v[:2])
        if abs(speed) <= STANDING_M_S:
            return self.hold(state.q)
        curvature = float(state.v[2]) / speed
        deceleration = BRAKING_SHARE * self._vehicle.friction * GRAVITY_M_S2
        return Braking(time_s, np.array(state.q, dtype=float), speed, curvature, deceleration)

    def check(
        self,
        reference: Reference,
        start_s: float,
        duration_s: float,
        rate_hz: float = 200.0,
        where: Reference | None = None,
    ) -> None:
        check_motion_limits(self._vehicle, reference, start_s, duration_s, rate_hz)
