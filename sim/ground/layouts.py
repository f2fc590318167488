# SPDX-License-Identifier: Apache-2.0
"""Random layouts of obstacles on a course, as discs (K, 3): x, y and radius [m; world].

Sizes are in widths of the vehicle. Obstacles are far enough apart to change from one side of the course to the other.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metarl_robot.robots.ground.description import Ground
from metarl_robot.robots.ground.path import Path

Array = NDArray[np.float64]

FIRST, APART = 16.0, (14.0, 30.0)
"""Distance of the first place from the start, and between two places."""
RADIUS, OFFSET = (0.2, 0.9), (-0.8, 0.8)
"""Radius of a disc, and its offset from the course."""
GAP = (2.5, 4.0)
"""Free width between the two discs of a gate."""
WALL = 5.0
"""Reach of a wall to both sides of the course."""
_LAST_M = 60.0
_FIRST_WALL = (20.0, 40.0)


def passable(robot: Ground, path: Path, rng: np.random.Generator) -> Array:
    """Single discs and gates of two, along one lap of a closed course."""
    width_m = float(robot.description.size_m[1])
    along, discs = FIRST * width_m, []
    end = min(path.length_m - FIRST * width_m, _LAST_M)
    while along < end:
        radius, offset = rng.uniform(*RADIUS), rng.uniform(*OFFSET)
        discs.append((along, offset, radius))
        if rng.random() < 0.5:
            other = rng.uniform(*RADIUS)
            aside = radius + other + rng.uniform(*GAP)
            discs.append((along, offset - aside if offset > 0.0 else offset + aside, other))
        along += rng.uniform(*APART) * width_m
    return placed(path, np.array(discs), width_m)


def blocked(robot: Ground, path: Path, rng: np.random.Generator) -> Array:
    """A wall of discs across the course, wider than any detour."""
    width_m = float(robot.description.size_m[1])
    along, offsets = rng.uniform(*_FIRST_WALL) * width_m, np.arange(-WALL, WALL + 0.25, 0.5)
    return placed(path, np.column_stack([np.full(len(offsets), along), offsets, np.full(len(offsets), 0.3)]), width_m)


def placed(path: Path, discs: Array, width_m: float) -> Array:
    """Discs in the world of rows (arc length [m], offset [widths], radius [widths])."""
    place = path.at(discs[:, 0])
    left = np.column_stack([-np.sin(place.yaw), np.cos(place.yaw)])
    return np.column_stack([place.position + left * width_m * discs[:, 1:2], width_m * discs[:, 2]])
