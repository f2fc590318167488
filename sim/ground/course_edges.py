# SPDX-License-Identifier: Apache-2.0
"""Where a vehicle is on its course: distance of its outline from the edges, and the times of its laps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metarl_robot.robots.ground.description import Ground
from metarl_robot.robots.ground.path import PathPoints
from metarl_robot.robots.ground.path_reference import PathReference
from metarl_robot.sim.ground.cross_track import nearest_on

Array = NDArray[np.float64]

_SPACING_M = 0.05
_BEFORE_M = 1.0
"""Largest distance of the outline behind the path's start."""


def edge_margin(robot: Ground, reference: PathReference, times: Array, poses: Array) -> Array:
    """Distance (N,) [m] of the outline from the nearer edge, at consecutive poses (N, 3) at times (N,) [s].

    Negative: it has left the course, which is given by the reference's widths.
    """
    assert reference.widths is not None
    s, line = _driven(reference, times)
    half, margins = 0.5 * np.asarray(robot.description.size_m[:2]), []
    c, sine = np.cos(poses[:, 2]), np.sin(poses[:, 2])
    for forward, left in ((1.0, 1.0), (1.0, -1.0), (-1.0, 1.0), (-1.0, -1.0)):
        x, y = forward * half[0], left * half[1]
        corner = poses[:, :2] + np.column_stack([c * x - sine * y, sine * x + c * y])
        points, along = nearest_on(line.position, corner)
        at = s[0] + along
        yaw = np.interp(at, s, line.yaw)
        aside = np.sum((corner - points) * np.column_stack([-np.sin(yaw), np.cos(yaw)]), axis=1)
        right, left_m = (_width(reference, at, column) for column in reference.widths.T)
        margins.append(np.minimum(aside + right, left_m - aside))
    return np.asarray(np.min(margins, axis=0))


def lap_times(reference: PathReference, times: Array, places: Array) -> Array:
    """Durations (L,) [s] of the complete laps, from consecutive positions (N, 2) at times (N,) [s]."""
    s, line = _driven(reference, times)
    along = s[0] + nearest_on(line.position, places)[1]
    length_m = reference.path.length_m
    ends = length_m * np.arange(1.0, np.floor(along.max() / length_m) + 1.0)
    passed = np.interp(ends, np.maximum.accumulate(along), times)
    return np.diff(passed, prepend=times[0])


def _driven(reference: PathReference, times: Array) -> tuple[Array, PathPoints]:
    """Arc lengths and points of the reference's path until its last time."""
    path, last_m = reference.path, float(reference.progress(times[-1:])[0][0])
    s = np.arange(-_BEFORE_M if path.closed else 0.0, last_m + _BEFORE_M, _SPACING_M)
    return s, path.at(s)


def _width(reference: PathReference, at: Array, widths: Array) -> Array:
    period = reference.path.length_m if reference.path.closed else None
    return np.asarray(np.interp(at, reference.along, widths, period=period))
