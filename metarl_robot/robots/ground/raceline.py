# SPDX-License-Identifier: Apache-2.0
"""A reference along the raceline of a file, with the edges of its course.

    reference = raceline(load_robot("f1tenth"), "Norisring_centerline.csv", friction=0.8)

See raceline_file.py for the format. Coordinates are in the world frame. The file's speeds are lowered to those that the
vehicle can drive; without speeds the line is driven in minimum time (speed_profile.py).
"""

from __future__ import annotations

from pathlib import Path as File

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.errors import SignalError
from metarl_robot.robots.ground.description import Ground
from metarl_robot.robots.ground.path import Path
from metarl_robot.robots.ground.path_reference import GRIP_SHARE, PathReference
from metarl_robot.robots.ground.raceline_file import Stations, read_stations
from metarl_robot.robots.ground.speed_profile import cruising, from_rest, speed_profile, stations

Array = NDArray[np.float64]

GIVEN_GRIP_SHARE = 0.9
"""Share of the nominal grip that a file's speeds may use by default."""
LONGEST_M = 10_000.0
_SLOWED_M_S = 0.02
"""Speeds that are lowered by more than this are reported."""


def raceline(robot: Ground, file: str | File, friction: float | None = None) -> PathReference:
    """A reference from rest along the line of a file; its `remark` reports where the file's speeds are lowered.

    Arguments:
        robot: the vehicle.
        file: with rows x_m, y_m [m; world], w_tr_right_m, w_tr_left_m [m], speed [m/s].
        friction: available to speeds; None: GRIP_SHARE of the nominal friction, for given speeds GIVEN_GRIP_SHARE.

    Raises:
        SignalError: the file is wrong, the course is narrower than the vehicle, or a bend is too tight for its
            steering; the message names file and line.
    """
    file = File(file).expanduser()
    read = read_stations(file)
    _check_widths(robot, file, read)
    path = Path(read.points, closed=read.closed, refinements=1)
    if not path.length_m <= LONGEST_M:
        raise SignalError(f"raceline {file}: is {path.length_m:.0f} m long; allowed: up to {LONGEST_M:g} m")
    if friction is None:
        friction = (GRIP_SHARE if read.speeds is None else GIVEN_GRIP_SHARE) * robot.friction
    if not friction > 0.0:
        raise SignalError(f"raceline: friction is {friction:g}; must be > 0")
    at = _along(path, read)
    along = stations(path)
    _check_bends(robot, file, read, path, along, at)
    wanted = None if read.speeds is None else _between(path, along, at, read.speeds)
    _, speed = speed_profile(robot, path, friction, most=cruising(robot, path) if wanted is None else wanted)
    widths = None
    if read.widths is not None:
        widths = np.column_stack([_between(path, along, at, column) for column in read.widths.T])
    first = from_rest(robot, path, along, speed, friction) if path.closed else None
    remark = "" if wanted is None else _remark(robot, friction, wanted, speed, path.closed)
    return PathReference(path, along, speed, first=first, widths=widths, remark=remark)


def _along(path: Path, read: Stations) -> Array:
    """Arc lengths (K,) [m] of the file's points: chords, stretched to the path's length."""
    ring = np.concatenate([read.points, read.points[:1]]) if path.closed else read.points
    chords = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(ring, axis=0), axis=1))])
    return np.asarray(chords[: len(read.points)] * path.length_m / chords[-1])


def _between(path: Path, along: Array, at: Array, values: Array) -> Array:
    """Values (N,) at arc lengths (N,), linearly between those (K,) of the file's points."""
    return np.asarray(np.interp(along, at, values, period=path.length_m if path.closed else None))


def _check_widths(robot: Ground, file: File, read: Stations) -> None:
    """Check that the vehicle on the line stays between the edges."""
    if read.widths is None:
        return
    width_m = float(robot.description.size_m[1])
    tight = np.minimum(read.widths.sum(axis=1) - width_m, 2.0 * read.widths.min(axis=1) - width_m)
    worst = int(np.argmin(tight))
    if tight[worst] < 0.0:
        right, left = read.widths[worst]
        raise SignalError(
            f"raceline {file}: at line {read.lines[worst]} the edges are {right:g} m to the right and {left:g} m to "
            f"the left; {robot.name} is {width_m:g} m wide and needs {0.5 * width_m:g} m on each side"
        )


def _check_bends(robot: Ground, file: File, read: Stations, path: Path, along: Array, at: Array) -> None:
    """Check that the steering reaches the path's curvature at arc lengths (N,); at: (K,) those of the file's points."""
    if not robot.is_steered:
        return
    tightest = float(np.tan(robot.effort_limit[0])) / robot.wheelbase_m
    bend = np.abs(path.at(along).curvature)
    worst = int(np.argmax(bend))
    if bend[worst] > tightest:
        line = read.lines[int(np.argmin(np.abs(at - along[worst])))]
        raise SignalError(
            f"raceline {file}: near line {line} its radius is {1.0 / bend[worst]:.3g} m; {robot.name} can drive "
            f"{1.0 / tightest:.3g} m and more. Smooth the points or widen the bend"
        )


def _remark(robot: Ground, friction: float, wanted: Array, speed: Array, closed: bool) -> str:
    """Report of where speeds (N,) are below those wanted (N,); empty if nowhere."""
    lost = wanted - speed
    slowed = lost > _SLOWED_M_S
    if not slowed.any():
        return ""
    worst = int(np.argmax(lost if closed else np.where(speed > 0.0, lost, 0.0)))
    ends = "" if closed else " (it begins and ends at rest)"
    return (
        f"the file's speeds are lowered on {100.0 * slowed.mean():.0f} % of the line{ends}, at most from "
        f"{wanted[worst]:.2f} to {speed[worst]:.2f} m/s, to those that {robot.name} reaches with a friction of "
        f"{friction:.2f}"
    )
