# SPDX-License-Identifier: Apache-2.0
"""The line that a vehicle follows: its reference or, around obstacles, a detour beside it.

Obstacles within the reference's next HORIZON_S are passed with a margin (detour.py), at most as fast as the reference
and the friction allow. Where no way is free, the vehicle stops before the obstacle, and continues when a way is found.

With `speed_grip` (of the configuration or the reference), speeds are lowered to those that the estimated friction
allows. They are updated twice a second, and for each new reference.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from metarl_robot.core.signals import Reference, Setpoints
from metarl_robot.robots.ground.description import GRAVITY_M_S2, Ground
from metarl_robot.robots.ground.detour import Lattice, smooth_offsets
from metarl_robot.robots.ground.nearby import AHEAD_S, Nearby, Progress
from metarl_robot.robots.ground.obstacles import Obstacles, clearance
from metarl_robot.robots.ground.path import Path
from metarl_robot.robots.ground.path_reference import PathReference
from metarl_robot.robots.ground.speed_profile import limited_speeds
from metarl_robot.trajectories.splines import Hold

Array = NDArray[np.float64]

HORIZON_S = 4.0
"""A detour is planned along this much of the reference, by its times [s]."""
REPLANNING_S = 0.5
"""Time between two plans while obstacles are known [s]."""
_SAMPLING_S = 0.04
_FINEST_M, _MOST_STATIONS, _LEAST_STATIONS = 0.1, 96, 8
_OFFSETS = 25
_FOLDED = 0.5
"""Least share of the line's radius of curvature that remains on the inner side of a bend."""
_SMOOTHING_S = 0.5
"""Length ℓ of detour.py: the distance at the present speed in this time, at least two wheelbases."""
_PASSING_SHARE, _STOPPING_SHARE = 0.5, 3.0
"""Least clearance beside an obstacle, and before one where no way is free, as shares of the margin."""
_BRAKING_SHARE = 0.3
"""Share of the estimated friction used to brake before an obstacle."""
_ON_LINE_M = 0.01
_LEAST_WAY_M = 0.15
"""A vehicle with less free way than this stops."""


class RouteConfig(BaseModel):
    """How obstacles are passed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    obstacle_margin_m: float = Field(0.15, ge=0.0, le=10.0, description="distance from obstacles [m]")
    detour_widths: float = Field(
        4.0, gt=0.0, le=50.0, description="largest distance of a detour from the reference, widths of the vehicle"
    )
    detour_grip: float = Field(0.6, gt=0.0, le=1.0, description="share of the estimated friction that a detour may use")
    speed_grip: float = Field(
        0.0,
        ge=0.0,
        le=1.0,
        description="share of the estimated friction to which speeds are lowered; 0: the reference's speeds",
    )


class _Line(NamedTuple):
    """M stations of a reference: arc length [m], time [s], position (M, 2) [m], yaw [rad] and speed [m/s]."""

    along: Array
    times: Array
    position: Array
    yaw: Array
    speed: Array

    @property
    def left(self) -> Array:
        """Unit vectors (M, 2) to the left."""
        return np.column_stack([-np.sin(self.yaw), np.cos(self.yaw)])

    @property
    def spacing_m(self) -> float:
        return float(self.along[1] - self.along[0])


class Route:
    """See the module's docstring. The friction is that of the description until `friction` is set.

    target: the last nearest point (1, …) of the line; None: there was none.
    """

    def __init__(self, robot: Ground, config: RouteConfig) -> None:
        self._robot, self._config = robot, config
        self._width_m = float(robot.description.size_m[1])
        self._aside_m = config.detour_widths * self._width_m
        self.obstacles = Obstacles(np.zeros((0, 3)))
        self._base, self._aside = Progress(keeps_past=True), Progress()
        self.reset()

    def reset(self) -> None:
        """Forget the last points and the detour; obstacles stay."""
        self._base.reset()
        self._aside.reset()
        self._detour: Reference | None = None
        self._reference: Reference | None = None
        self._planned_s, self._offsets = -np.inf, (np.zeros(1), np.zeros(1))
        self.friction, self._speed_grip = self._robot.friction, 0.0
        self.target: Setpoints | None = None

    @property
    def plans_speeds(self) -> bool:
        """Whether the line has speeds of its own: around obstacles, or with `speed_grip`."""
        return self._detour is not None

    def observe(self, discs: Array) -> None:
        """All known obstacles as discs (K, 3): x, y, radius [m; world]. Raises SignalError."""
        new = Obstacles(discs)
        if not np.array_equal(new.discs, self.obstacles.discs):
            self.obstacles, self._planned_s = new, -np.inf

    def nearest(
        self, reference: Reference, time: float, pose: Array, speed_m_s: float, ahead_s: float = AHEAD_S
    ) -> Nearby | None:
        """The line from the point nearest to a pose (3,), for at least ahead_s; None if it is not finite.

        speed_m_s: forward speed of the vehicle.
        """
        found = self._base.nearest(reference, time, pose[:2], ahead_s)
        if found is None:
            return None
        self._speed_grip = self._config.speed_grip or float(getattr(reference, "speed_grip", 0.0))
        watching = self._detour is not None or len(self.obstacles) > 0 or self._speed_grip > 0.0
        due = found.reference is not self._reference or not 0.0 <= time - self._planned_s < REPLANNING_S
        if watching and due:
            self._plan(found.reference, found.time_s, time, pose, speed_m_s)
        if self._detour is not None:
            found = self._aside.nearest(self._detour, time, pose[:2], ahead_s) or found
        self.target = found.point
        return found

    def _plan(self, reference: Reference, from_s: float, time: float, pose: Array, speed_m_s: float) -> None:
        """Plan a detour; where the reference is free, plan only its speeds, or nothing."""
        line = _line(reference, from_s)
        same, last = reference is self._reference, self._detour
        self._planned_s, self._reference = time, reference
        if line is None:  # near its end an obstacle may stand: the last detour knows
            self._detour = last if same else None
            return
        self._detour = None
        start = (0.0, 0.0) if last is None else self._start(line, last, time, pose[:2])
        near = self.obstacles.near(line.position, self._aside_m + self._config.obstacle_margin_m + self._width_m)
        if not len(near) and abs(start[0]) < _ON_LINE_M:
            if self._speed_grip > 0.0:
                self._detour = self._through(line.position, line, time, speed_m_s, stops=False)
            return
        way = self._aside_of(line, near, start, time, speed_m_s)
        self._detour = way or (last if isinstance(last, Hold) else Hold(pose))

    def _start(self, line: _Line, last: Reference, time: float, position: Array) -> tuple[float, float]:
        """Offset [m] and slope of the last detour at the vehicle."""
        here = self._aside.nearest(last, time, position, 0.0)
        if here is None:
            return 0.0, 0.0
        q = here.points.q[0]
        turn = float(np.clip(np.arctan2(np.sin(q[2] - line.yaw[0]), np.cos(q[2] - line.yaw[0])), -1.0, 1.0))
        return float(line.left[0] @ (q[:2] - line.position[0])), float(np.tan(turn))

    def _aside_of(
        self, line: _Line, near: Obstacles, start: tuple[float, float], time: float, speed_m_s: float
    ) -> PathReference | None:
        """The detour from an offset and slope; None if the vehicle must stop."""
        config, robot = self._config, self._robot
        lattice = self._lattice(line, near)
        last = np.interp(line.times, *self._offsets)
        way, reached = lattice.way(start[0], last)
        lower, upper = lattice.interval(way)
        length_m = max(2.0 * robot.wheelbase_m, _SMOOTHING_S * abs(speed_m_s))
        offsets = smooth_offsets(lower, upper, line.spacing_m, length_m, start)
        self._offsets = line.times, offsets
        points = line.position + line.left * offsets[:, None]
        poses = np.column_stack([points, _headings(points)])
        blocked = reached < len(points)
        least = config.obstacle_margin_m * (_STOPPING_SHARE if blocked else _PASSING_SHARE)
        free = clearance(robot, near, poses)
        close = (free < least) & (free < free[0] - _ON_LINE_M)
        end = int(np.argmax(close)) if close.any() else reached
        if line.along[max(end - 1, 0)] < _LEAST_WAY_M:
            return None
        return self._through(points[:end], line, time, speed_m_s, stops=end < len(points))

    def _through(self, points: Array, line: _Line, time: float, speed_m_s: float, stops: bool) -> PathReference:
        """The way through points (M, 2) beside the line's first stations."""
        path = Path(points, refinements=1)
        along = np.linspace(0.0, path.length_m, len(points))
        return PathReference(path, along, self._speeds(path, along, line, stops, speed_m_s), start_s=time)

    def _lattice(self, line: _Line, near: Obstacles) -> Lattice:
        offsets = np.linspace(-self._aside_m, self._aside_m, _OFFSETS)
        places = line.position[:, None] + line.left[:, None] * offsets[:, None]
        needed = 0.5 * self._width_m + self._config.obstacle_margin_m
        distance = near.distance(places.reshape(-1, 2)).reshape(len(line.along), _OFFSETS)
        bend = np.gradient(line.yaw, line.along)
        return Lattice(offsets, line.spacing_m, (distance > needed) & (offsets * bend[:, None] < _FOLDED))

    def _speeds(self, path: Path, along: Array, line: _Line, stops: bool, speed_m_s: float) -> Array:
        """Speeds (M,) [m/s] of a detour, or of the line, within the estimated friction."""
        robot, count = self._robot, len(along)
        bend = np.abs(path.at(along).curvature)
        most = np.minimum(line.speed[:count], robot.velocity_limit[2] / np.maximum(bend, 1e-9))
        if self._speed_grip > 0.0:
            grip = self._speed_grip * self.friction * GRAVITY_M_S2
            most = np.minimum(most, np.sqrt(grip / np.maximum(bend, 1e-9)))
        else:
            grip = max(self._config.detour_grip * self.friction * GRAVITY_M_S2, _used(line, count))
        most[0] = max(most[0], speed_m_s)
        if stops:
            most[-1] = 0.0
        braking = _BRAKING_SHARE * self.friction * GRAVITY_M_S2 if stops else grip
        return limited_speeds(robot, along, bend, grip, braking, most)


def _used(line: _Line, count: int) -> float:
    """Largest acceleration [m/s²] at a line's first stations."""
    own = np.abs(np.gradient(line.yaw, line.along))[:count] * np.square(line.speed[:count])
    rate = np.abs(np.gradient(np.square(line.speed), line.along))[:count] / 2.0
    return float(np.hypot(own, rate).max())


def _line(reference: Reference, from_s: float) -> _Line | None:
    """Stations of a reference's next part; None where it waits or is not finite."""
    times = from_s + np.arange(0.0, HORIZON_S, _SAMPLING_S)
    points: Setpoints = reference.sample(times)
    steps = np.linalg.norm(np.diff(points.q[:, :2], axis=0), axis=1)
    along = np.concatenate([[0.0], np.cumsum(steps)])
    if not np.isfinite(along[-1]) or along[-1] < _FINEST_M * _LEAST_STATIONS:
        return None
    count = int(np.clip(along[-1] / _FINEST_M, _LEAST_STATIONS, _MOST_STATIONS))
    s = np.linspace(0.0, along[-1], count)
    moving = np.concatenate([[True], steps > 1e-6])
    columns = np.column_stack([times, points.q, np.hypot(points.v[:, 0], points.v[:, 1])])[moving]
    rows = np.column_stack([np.interp(s, along[moving], column) for column in columns.T])
    return _Line(s, rows[:, 0], rows[:, 1:3], rows[:, 3], rows[:, 4])


def _headings(points: Array) -> Array:
    """Directions (M,) [rad] of a line through points (M, 2)."""
    step = np.gradient(points, axis=0)
    return np.asarray(np.unwrap(np.arctan2(step[:, 1], step[:, 0])))
