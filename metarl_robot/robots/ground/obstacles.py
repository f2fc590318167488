# SPDX-License-Identifier: Apache-2.0
"""Obstacles on the ground as discs, and their distance from points and from a vehicle."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion
from scipy.spatial import cKDTree

from metarl_robot.core.errors import SignalError
from metarl_robot.robots.ground.description import Ground

Array = NDArray[np.float64]

_FEW = 16
"""Up to this number, discs are compared one by one."""
MOST_M = 1e6
"""Largest coordinate and radius of an obstacle."""


class Obstacles:
    """Discs on the ground.

    Arguments:
        discs: (K, 3) x, y [m; world] and radius [m] >= 0; K = 0: no obstacles.

    Raises:
        SignalError: a wrong shape, a value that is not finite or too large, or a negative radius.
    """

    def __init__(self, discs: Array) -> None:
        self.discs = _checked(discs)

    @cached_property
    def _groups(self) -> list[tuple[float, cKDTree]]:
        """A search tree for the discs of each radius; cells of a grid share one radius."""
        radii = self.discs[:, 2]
        return [(float(radius), cKDTree(self.discs[radii == radius, :2])) for radius in np.unique(radii)]

    def __len__(self) -> int:
        return len(self.discs)

    def distance(self, places: Array) -> Array:
        """Distance (N,) [m] of points (N, 2) from the nearest disc, negative within one; infinite without discs."""
        if 0 < len(self.discs) <= _FEW:
            away = np.linalg.norm(places[:, None] - self.discs[:, :2], axis=2)
            return np.asarray((away - self.discs[:, 2]).min(axis=1))
        nearest = np.full(len(places), np.inf)
        for radius, tree in self._groups:
            nearest = np.minimum(nearest, tree.query(places)[0] - radius)
        return nearest

    def near(self, places: Array, reach_m: float) -> Obstacles:
        """The discs within a distance [m] of the box about places (N, 2)."""
        reach = reach_m + self.discs[:, 2:]
        inside = (self.discs[:, :2] > places.min(0) - reach) & (self.discs[:, :2] < places.max(0) + reach)
        return Obstacles(self.discs[inside.all(axis=1)])


def grid_discs(occupied: NDArray[np.bool_], resolution_m: float, origin: Array) -> Array:
    """Discs (K, 3) that cover the edges of the occupied cells of a grid.

    occupied: (rows along y, columns along x). origin: (3,) x, y [m; world] and yaw [rad] of the corner of cell (0, 0).
    """
    inside = binary_erosion(occupied, border_value=0)
    rows, columns = np.nonzero(occupied & ~inside)
    x, y = resolution_m * (columns + 0.5), resolution_m * (rows + 0.5)
    c, s = np.cos(origin[2]), np.sin(origin[2])
    radius = np.full(len(rows), resolution_m * np.sqrt(0.5))
    return np.column_stack([origin[0] + c * x - s * y, origin[1] + s * x + c * y, radius])


def clearance(robot: Ground, obstacles: Obstacles, poses: Array) -> Array:
    """Distance (N,) [m] of a vehicle's outline at poses (N, 3) from the nearest disc, negative if they overlap."""
    if not len(obstacles):
        return np.full(len(poses), np.inf)
    half = 0.5 * np.asarray(robot.description.size_m[:2])
    away = obstacles.discs[None, :, :2] - poses[:, None, :2]
    c, s = np.cos(poses[:, 2:]), np.sin(poses[:, 2:])
    along = c * away[..., 0] + s * away[..., 1]
    across = c * away[..., 1] - s * away[..., 0]
    beyond = np.abs(np.stack([along, across], axis=-1)) - half
    outside = np.linalg.norm(np.maximum(beyond, 0.0), axis=-1) + np.minimum(beyond.max(axis=-1), 0.0)
    return np.asarray((outside - obstacles.discs[:, 2]).min(axis=1))


def _checked(discs: Array) -> Array:
    discs = np.array(discs, dtype=float)
    if discs.size == 0:
        return np.zeros((0, 3))
    if discs.ndim != 2 or discs.shape[1] != 3:
        raise SignalError(f"obstacles: must be rows (x, y, radius); given an array of shape {discs.shape}")
    usable = (np.abs(discs) <= MOST_M).all(axis=1) & (discs[:, 2] >= 0.0)
    if not usable.all():
        worst = int(np.argmin(usable))
        raise SignalError(
            f"obstacles: row {worst} is {discs[worst].tolist()}; x and y must be finite, within {MOST_M:g} m, "
            "and the radius >= 0"
        )
    return discs
