# SPDX-License-Identifier: Apache-2.0
"""Names of a robot's coordinates in tables, recordings and figures, and the pose of its base.

A kind of robot states the names (`Robot.coordinates`). Where q and v describe the motion of its base, the names are
those of POSE and TWIST; common code then converts between q, v and messages with a pose. A robot with fewer
coordinates, such as a point on a plane, names its own only; its base is level and does not move along the others. A
base that turns about the vertical only has HEADING in q, instead of an attitude.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core import rotation
from metarl_robot.core.errors import RobotError

Array = NDArray[np.float64]

_AXES = "xyz"
POSE = (*(f"position_{axis}_m" for axis in _AXES), *(f"attitude_{part}" for part in "wxyz"))
"""Names of position [m; world] and attitude [body→world] of a base, (7,)."""
TWIST = (*(f"velocity_{axis}_m_s" for axis in _AXES), *(f"rate_{axis}_rad_s" for axis in _AXES))
"""Names of linear velocity [m/s; world] and angular velocity [rad/s; body] of a base, (6,)."""
HEADING = "yaw_rad"
"""Name of the yaw of a level base, in place of an attitude in q."""
_LEVEL = np.array([0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0])


_UNITS = {"_rad_s": "rad/s", "_m_s": "m/s", "_rad": "rad", "_m": "m", "_nm": "Nm", "_n": "N"}


def unit_of(name: str) -> str:
    """The unit at the end of a coordinate's name: 'x/velocity_m_s' → 'm/s'; empty if it has none."""
    return next((unit for suffix, unit in _UNITS.items() if name.endswith(suffix)), "")


class Coordinates(NamedTuple):
    """Names, with units, of q (nq,), v (dof,) and a command (nu,)."""

    q: tuple[str, ...]
    v: tuple[str, ...]
    effort: tuple[str, ...]


class BaseCoordinates:
    """Converts between q, v and the pose (7,) and twist (6,) of a robot's base.

    Raises:
        RobotError: a coordinate is not one of POSE or TWIST, or an attitude and HEADING are both in q.
    """

    def __init__(self, names: Coordinates) -> None:
        self._heading = names.q.index(HEADING) if HEADING in names.q else None
        if self._heading is not None and set(names.q) & set(POSE[3:]):
            raise RobotError(f"coordinates: q has '{HEADING}' and parts of an attitude; must have one of the two")
        self._q = _places("q", [name for name in names.q if name != HEADING], (*POSE, HEADING))
        self._v = _places("v", names.v, TWIST)

    def pose(self, q: Array) -> Array:
        """Pose of the base at q (nq,)."""
        pose = _LEVEL.copy()
        if self._heading is None:
            pose[self._q] = q
        else:
            pose[self._q], pose[3:] = np.delete(q, self._heading), rotation.from_yaw(q[self._heading])
        return pose

    def twist(self, v: Array) -> Array:
        """Twist of the base at v (dof,)."""
        twist = np.zeros(len(TWIST))
        twist[self._v] = v
        return twist

    def q(self, pose: Array) -> Array:
        """The robot's q (nq,) at a pose; a heading is in [-π, π]."""
        if self._heading is None:
            return pose[self._q]
        yaw = rotation.yaw(rotation.normalise(pose[3:]))
        return np.insert(pose[self._q], self._heading, yaw)

    def v(self, twist: Array) -> Array:
        """The robot's v (dof,) at a twist."""
        return twist[self._v]


def _places(what: str, names: Sequence[str], all_names: Sequence[str]) -> NDArray[np.intp]:
    unknown = [name for name in names if name not in all_names]
    if unknown:
        raise RobotError(f"coordinates: {what} has '{unknown[0]}'; a base's are {list(all_names)}, any of them")
    return np.array([all_names.index(name) for name in names], dtype=np.intp)
