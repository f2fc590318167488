# SPDX-License-Identifier: Apache-2.0
"""Obstacles from messages: discs in a named table, or the occupied cells of a costmap as Nav2 publishes it."""

from __future__ import annotations

import numpy as np
from nav_msgs.msg import OccupancyGrid
from numpy.typing import NDArray
from std_msgs.msg import Float64MultiArray

from metarl_robot.core import rotation
from metarl_robot.core.errors import SignalError
from metarl_robot.core.tables import Table, table_of
from metarl_robot.robots.ground.obstacles import grid_discs
from metarl_robot.ros_nodes.convert import listed, table_message
from metarl_robot.ros_nodes.frames import Frame

Array = NDArray[np.float64]

COLUMNS = ("x_m", "y_m", "radius_m")
OCCUPIED = 99
"""Cells from this value on are obstacles: in a costmap 100 is lethal and 99 inscribed. Unknown cells, -1, are free."""
RESOLUTIONS_M = (0.005, 1.0)
MOST_CELLS = 250_000
"""Largest number of cells of a grid; reading it takes 3 ms."""
_QUATERNION_TOLERANCE = 0.01


def read_discs(message: Float64MultiArray) -> Array:
    """Discs (K, 3) of a named table with the columns COLUMNS, in any order; none without data. Raises SignalError."""
    if not message.data:
        return np.zeros((0, len(COLUMNS)))
    table = table_of(message)
    if sorted(table.columns) != sorted(COLUMNS):
        raise SignalError(f"obstacles: columns are {listed(table.columns)}; they must be {list(COLUMNS)}, in any order")
    return table.values[:, [table.columns.index(name) for name in COLUMNS]]


def discs_message(discs: Array) -> Float64MultiArray:
    """The message of `read_discs` for discs (K, 3)."""
    return table_message(Table(0, tuple(f"obstacle_{k}" for k in range(len(discs))), COLUMNS, discs))


def read_grid(message: OccupancyGrid, world: Frame) -> Array:
    """Discs (K, 3) on the edges of a grid's occupied cells. Raises SignalError."""
    world.check("costmap", "frame_id", message.header.frame_id)
    info = message.info
    least, most = RESOLUTIONS_M
    if not least <= info.resolution <= most:
        raise SignalError(f"costmap: resolution is {info.resolution:.3g} m; must be from {least:g} to {most:g} m")
    if not 0 < info.width * info.height <= MOST_CELLS or len(message.data) != info.width * info.height:
        raise SignalError(
            f"costmap: {len(message.data)} cells for a grid of {info.width} x {info.height}; it must have as many, "
            f"from 1 to {MOST_CELLS}"
        )
    cells = np.asarray(message.data, dtype=np.int8).reshape(info.height, info.width)
    at, turn = info.origin.position, info.origin.orientation
    quaternion = np.array([turn.w, turn.x, turn.y, turn.z])
    upright = float(quaternion[0] ** 2 + quaternion[3] ** 2)
    if not abs(upright - 1.0) < _QUATERNION_TOLERANCE or not np.isfinite([at.x, at.y]).all():
        raise SignalError("costmap: its origin must be finite and turned about z only")
    return grid_discs(cells >= OCCUPIED, info.resolution, np.array([at.x, at.y, float(rotation.yaw(quaternion))]))
