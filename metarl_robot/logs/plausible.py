# SPDX-License-Identifier: Apache-2.0
"""Refuses recordings whose values no such robot can have, with the unit that would explain them; finds broken rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.robot import Robot
from metarl_robot.logs.recording import LogError, Recording

Array = NDArray[np.float64]

BEYOND = 3.2
"""[rad, m] Positions may be this far beyond the limits: half a turn."""
TIMES = 3.0
"""Velocities and efforts are judged by the 90th percentile of their size, which may be as many times the limit."""
FAR = 10.0
"""A row with a velocity or an effort beyond as many times its limit is broken."""
SLOPES = {"deg/s": (40.0, 80.0), "mm/s": (700.0, 1400.0), "rad/s with positions in deg": (0.0125, 0.025)}
"""Velocities over differences of positions where one of both has another unit."""
COMPARED_S = 0.05
"""Time over which velocities are compared with changes of positions."""
LEAP, MOST_LEAPS = 0.02, 0.05
"""[rad, m] A change from row to row beyond what `TIMES` the velocity limit explains; share of such rows."""
FOLLOWS, FOLLOWS_NOT = 0.95, 0.5
"""Correlation of a velocity with the position of another joint, and with its own, where two joints are exchanged."""
MOVING_RAD_S = 0.05
"""Velocities are compared with positions only where the fastest joint's root mean square is above this."""


def check_plausible(robot: Robot, recording: Recording) -> None:
    """Raise LogError if a value cannot be right."""
    _check_positions(robot, recording)
    _check_leaps(robot, recording)
    _check_velocities(robot, recording)
    _check_efforts(robot, recording)


def possible(robot: Robot, recording: Recording) -> NDArray[np.bool_]:
    """Rows (K,) whose every value is within BEYOND of the limits of positions, and FAR times those of the others."""
    lower, upper = _limits(robot)
    within = (recording.q > lower - BEYOND) & (recording.q < upper + BEYOND)
    within &= np.abs(recording.v) < FAR * robot.velocity_limit
    within &= np.abs(recording.effort) < FAR * robot.effort_limit
    return np.asarray(within.all(axis=1))


def _limits(robot: Robot) -> tuple[Array, Array]:
    """Least and largest position (n,); infinite for joints that turn without end."""
    endless = np.zeros(robot.dof, dtype=bool) if robot.endless is None else robot.endless
    return np.where(endless, -np.inf, robot.position_lower), np.where(endless, np.inf, robot.position_upper)


def _check_positions(robot: Robot, recording: Recording) -> None:
    q = np.quantile(recording.q, (0.01, 0.99), axis=0)
    for joint, low, high, lower, upper in zip(robot.channel_names, *q, *_limits(robot), strict=True):
        if low < lower - BEYOND or high > upper + BEYOND:
            degrees = np.deg2rad(low) > lower - 0.5 and np.deg2rad(high) < upper + 0.5
            unit = " They would be right in degrees: say 'position: {unit: deg}' in a map." if degrees else ""
            limits = f"its limits are {lower:.4g} … {upper:.4g}"
            raise LogError(f"{recording.source}: positions of {joint} reach {low:.4g} … {high:.4g}; {limits}.{unit}")


def _check_leaps(robot: Robot, recording: Recording) -> None:
    """Positions that alternate between places which no motor connects in that time."""
    steps_s = np.maximum(np.diff(recording.time_s), recording.period_s)[:, None]
    leaps = np.abs(np.diff(recording.q, axis=0))
    share = (leaps > LEAP + TIMES * robot.velocity_limit * steps_s).mean(axis=0)
    worst = int(np.argmax(share))
    if share[worst] > MOST_LEAPS:
        usual = float(np.median(leaps[leaps[:, worst] > LEAP, worst]))
        said = f"positions of {robot.channel_names[worst]} leap in {100.0 * share[worst]:.3g} % of the rows"
        remedy = "two robots on one topic? Record each on a topic of its own"
        raise LogError(f"{recording.source}: {said}, usually by {usual:.3g}: {remedy}")


def _check_velocities(robot: Robot, recording: Recording) -> None:
    slope = velocity_slope(recording)
    for unit, (low, high) in SLOPES.items():
        if slope is not None and low < abs(slope) < high:
            raise LogError(
                f"{recording.source}: velocities are {slope:.3g} times the change of positions, as if in {unit}"
                "; say so in a map: velocity, position: {unit: …}"
            )
    _check_size(robot, recording, "velocities", recording.v, robot.velocity_limit)


def velocity_slope(recording: Recording) -> float | None:
    """Slope of velocities over differences of positions, all joints together; None: too little motion to say."""
    compared = _compared(recording)
    if compared is None:
        return None
    by_position, middle = compared
    return float((middle * by_position).sum() / (by_position**2).sum())


def exchanged(recording: Recording) -> list[tuple[int, int]]:
    """Joints whose velocity follows the position of another joint instead of their own, each with that joint."""
    compared = _compared(recording)
    if compared is None:
        return []
    by_position, middle = (each / np.maximum(np.linalg.norm(each, axis=0), 1e-9) for each in compared)
    alike = middle.T @ by_position
    found = zip(np.argmax(alike, axis=1), alike.max(axis=1), np.diagonal(alike), strict=True)
    return [(j, int(other)) for j, (other, best, own) in enumerate(found) if best > FOLLOWS and own < FOLLOWS_NOT]


def _compared(recording: Recording) -> tuple[Array, Array] | None:
    """Differences of positions and mean velocities (K, n) over COMPARED_S; None: too little motion."""
    stride = max(1, round(COMPARED_S / recording.period_s))
    ends = np.arange(0, len(recording.q), stride)
    steps_s = np.diff(recording.time_s[ends])[:, None]
    if not len(steps_s):
        return None
    by_position = np.diff(recording.q[ends], axis=0) / steps_s
    middle = np.add.reduceat(recording.v, ends, axis=0)[: len(steps_s)] / stride
    usual = np.abs(by_position) <= np.quantile(np.abs(by_position), 0.99)
    usual &= steps_s < 1.5 * np.median(steps_s)
    if np.sqrt(np.mean((usual * by_position) ** 2, axis=0)).max() < MOVING_RAD_S:
        return None
    return usual * by_position, usual * middle


def _check_efforts(robot: Robot, recording: Recording) -> None:
    _check_size(robot, recording, "efforts", recording.effort, robot.effort_limit)


def _check_size(robot: Robot, recording: Recording, what: str, values: Array, limit: Array) -> None:
    size = np.quantile(np.abs(values), 0.9, axis=0)
    worst = int(np.argmax(size / limit))
    if size[worst] > TIMES * limit[worst]:
        raise LogError(
            f"{recording.source}: {what} of {robot.channel_names[worst]} reach {size[worst]:.4g}; its limit is "
            f"{limit[worst]:.4g}: another unit, or another robot? Units are named in a map."
        )
