# SPDX-License-Identifier: Apache-2.0
"""Rows of a recording in which a driver repeated an old position while the robot moved on.

The criterion is that of the running controllers (safety/stuck_sensor.py). A recording tells more than a velocity: the
position from which a joint goes on. The velocity of a repeated position is therefore its way to the next one, over the
time until then; so it is also known where a log has no velocities, or those of another joint. A joint that starts from
rest, with states at a lower rate than rows, goes on by no more than at the next state: that way does not count. At the
end of a log the velocity that repeats with the position counts.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.robot import Robot
from metarl_robot.safety.stuck_sensor import LEAST_M, MARGIN, StuckSensor

Array = NDArray[np.float64]
Rows = NDArray[np.bool_]


def frozen_rows(robot: Robot, time_s: Array, q: Array, v: Array) -> Rows:
    """(K,) whether a position repeats an old one; the row in which it was new does not count.

    Arguments:
        robot: one with a position for each joint.
        time_s, q, v: (K,), (K, n), (K, n).
    """
    frozen = np.zeros(len(q), dtype=bool)
    same = np.concatenate([np.zeros((1, q.shape[1]), dtype=bool), q[1:] == q[:-1]])
    ways = np.stack([_ways(time_s, *each) for each in zip(q.T, v.T, same.T, strict=True)], axis=1)
    claimed = np.abs(np.where(same, ways, 0.0) * np.diff(time_s, prepend=time_s[0])[:, None])
    if not (claimed.sum(axis=0) > LEAST_M).any():
        return frozen
    sensor = StuckSensor(robot)
    rows = zip(time_s.tolist(), q.tolist(), ways.tolist(), strict=True)
    found = np.array([sensor.found(*row) is not None for row in rows])
    for repeated in same.T:
        run = np.cumsum(~repeated)
        frozen |= repeated & np.isin(run, run[found & repeated])
    return frozen


def _ways(time_s: Array, q: Array, v: Array, same: Rows) -> Array:
    """Velocity (K,) with which a joint went on to its next position; the recorded one (K,) after the last change."""
    starts = np.flatnonzero(~same)
    steps = np.diff(q[starts])
    beside = np.pad(np.abs(steps), 1)
    sudden = np.abs(steps) > MARGIN * np.maximum(beside[:-2], beside[2:])
    speeds = np.append(np.where(sudden, steps, 0.0) / np.diff(time_s[starts]), 0.0)
    made = speeds[np.cumsum(~same) - 1]
    last = starts[-1]
    made[last:] = np.where(v[last:] == v[last], v[last:], 0.0)
    return np.asarray(made)
