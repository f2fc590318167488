# SPDX-License-Identifier: Apache-2.0
"""A path without times, as from Nav2, is given speeds that the nominal vehicle can drive.

The path is a spline through its points. Speeds begin with the vehicle's and end at rest; they use GRIP_SHARE of the
nominal friction and SPEED_SHARE of the speed limit (robots/ground/speed_profile.py).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.errors import SignalError
from metarl_robot.core.tables import NANOSECONDS
from metarl_robot.robots.ground.path import Path
from metarl_robot.robots.ground.path_reference import GRIP_SHARE, PathReference
from metarl_robot.robots.ground.speed_profile import cruising, speed_profile
from metarl_robot.ros_nodes.interface import ReferencePoints
from metarl_robot.safety.input_validation import MAX_VALUE
from metarl_robot.trajectories.flat_outputs import Outputs

Array = NDArray[np.float64]

SPACING_S = 0.05
SHORTEST_M, LONGEST_M = 0.1, 200.0
"""Lengths of a path; the longest bounds the time of reading one."""


def driven(robot: Any, points: Array, start_m_s: float) -> ReferencePoints:
    """The motion along points (K, 2) [m; world] that begins now at a speed [m/s]. Raises SignalError."""
    _check(points)
    path = Path(points)
    profile = speed_profile(robot, path, GRIP_SHARE * robot.friction, start_m_s, cruising(robot, path))
    reference = PathReference(path, *profile)
    times = np.linspace(0.0, reference.lap_s, max(2, int(np.ceil(reference.lap_s / SPACING_S)) + 1))
    setpoints = reference.sample(times)
    since_ns = np.round(times * NANOSECONDS).astype(np.int64)
    return ReferencePoints(0, since_ns, Outputs(setpoints.q, setpoints.v, setpoints.a))


def _check(points: Array) -> None:
    """Raise SignalError for points between which no path can be laid in bounded time; Path checks the rest."""
    if len(points) < 2:
        raise SignalError(f"path: has {len(points)} poses; must have at least 2, at different places")
    if not np.all(np.abs(points) <= MAX_VALUE):  # also false for NaN
        worst = int(np.argmin(np.all(np.abs(points) <= MAX_VALUE, axis=1)))
        raise SignalError(f"path: point {worst} is {points[worst].tolist()}; must be finite, within {MAX_VALUE:g} m")
    length_m = float(np.linalg.norm(np.diff(points, axis=0), axis=1).sum())
    if not SHORTEST_M <= length_m <= LONGEST_M:
        raise SignalError(
            f"path: is {length_m:.3g} m long; must be from {SHORTEST_M:g} to {LONGEST_M:g} m; send its next part only"
        )
