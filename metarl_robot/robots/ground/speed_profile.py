# SPDX-License-Identifier: Apache-2.0
"""The fastest speed along a path for a friction: the forward-backward pass of minimum-time driving.

Lateral acceleration v² κ and longitudinal acceleration share the friction circle μ g (Lenzo, Rossi, "A simple mono-
dimensional approach for lap time optimisation", 2020; Velenis, Tsiotras 2008). Only driven wheels accelerate and brake:
with the share n of the weight on them, an acceleration a uses a (1 ∓ k μ) / n of the circle, where k m a is the load
that moves between the axles.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metarl_robot.robots.ground.description import GRAVITY_M_S2, Ground
from metarl_robot.robots.ground.path import Path

Array = NDArray[np.float64]

STEP_M = 0.05
SPEED_SHARE = 0.9
"""Share of the speed limit that motions use by default: a vehicle beside its reference must be able to catch up."""


def stations(path: Path) -> Array:
    """The arc lengths (N,) [m] at which a profile has speeds."""
    return np.linspace(0.0, path.length_m, max(int(path.length_m / STEP_M), 8) + 1)


def cruising(robot: Ground, path: Path) -> Array:
    """Speeds (N,) [m/s] at `stations` that leave a reserve to the vehicle's limit."""
    return np.full(len(stations(path)), SPEED_SHARE * robot.velocity_limit[0])


def speed_profile(
    robot: Ground, path: Path, friction: float, start_m_s: float = 0.0, most: Array | None = None
) -> tuple[Array, Array]:
    """Arc lengths (N,) [m] and speeds (N,) [m/s] along a path.

    friction: that the vehicle may use. start_m_s: speed at the start of an open path, which ends at rest; a closed
    path has the same speed at both ends. most: (N,) speeds at `stations` that are not exceeded.
    """
    along = stations(path)
    curvature, grip = np.abs(path.at(along).curvature), friction * GRAVITY_M_S2
    turning = robot.velocity_limit[2] / np.maximum(curvature, 1e-9)
    square = np.minimum(np.minimum(grip / np.maximum(curvature, 1e-9), turning**2), robot.velocity_limit[0] ** 2)
    if most is not None:
        square = np.minimum(square, np.square(most))
    drive, step, (driving, braking) = _drive(robot), along[1] - along[0], _traction(robot, friction)
    if not path.closed:
        square[0], square[-1] = min(square[0], start_m_s**2), 0.0
    for _ in range(2 if path.closed else 1):
        square = _limited(square, curvature, grip, drive, step, path.closed, driving)
        square = _limited(square[::-1], curvature[::-1], grip, drive, step, path.closed, braking)[::-1]
    return along, np.sqrt(square)


def from_rest(robot: Ground, path: Path, along: Array, speed: Array, friction: float) -> Array:
    """Speeds (N,) [m/s] of a first lap that begins at rest, below those of a profile of the other laps."""
    curvature, grip = np.abs(path.at(along).curvature), friction * GRAVITY_M_S2
    square = np.square(speed)
    square[0] = 0.0
    driving, _ = _traction(robot, friction)
    return np.sqrt(_limited(square, curvature, grip, _drive(robot), along[1] - along[0], False, driving))


def limited_speeds(robot: Ground, along: Array, curvature: Array, grip: float, braking: float, most: Array) -> Array:
    """Speeds (N,) [m/s], at most those given, at equally spaced arc lengths (N,) [m] of an open path.

    curvature: (N,) magnitude [1/m]. grip, braking: largest acceleration, and deceleration along the path [m/s²].
    """
    square = np.minimum(np.square(most), grip / np.maximum(curvature, 1e-9))
    square[0] = most[0] ** 2
    drive, step, (forth, back) = _drive(robot), along[1] - along[0], _traction(robot, grip / GRAVITY_M_S2)
    square = _limited(square, curvature, grip, drive, step, False, forth)
    return np.sqrt(_limited(square[::-1], curvature[::-1], grip, min(drive, braking), step, False, back)[::-1])


def _drive(robot: Ground) -> float:
    """Largest acceleration [m/s²] of the drives."""
    return float(robot.track.torque_share.sum(0) @ robot.effort_limit) / robot.wheel_radius_m / robot.mass_kg


def _traction(robot: Ground, friction: float) -> tuple[float, float]:
    """Shares of the friction circle that driven wheels can use along the path: to accelerate and to brake."""
    track = robot.track
    driven = track.torque_share.sum(axis=1) > 0.0
    part, moved = track.load_share[driven, 0].sum(), robot.com_height * track.load_share[driven, 1].sum()
    driving, braking = (part / max(1.0 + sign * friction * moved, part) for sign in (1.0, -1.0))
    return float(driving), float(braking)


def _limited(
    square: Array, curvature: Array, grip: float, most: float, step: float, closed: bool, traction: float
) -> Array:
    """Squared speeds (N,) that accelerations along the path, at most `most`, reach one after the other.

    traction: share of the grip left in a bend that driven wheels can use. The ends of a closed path are one point; two
    laps are driven, so that it has one speed.
    """
    square, count = square.copy(), len(square) - 1
    for k in range(2 * count if closed else count):
        here, there = (k % count, (k + 1) % count) if closed else (k, k + 1)
        left = np.sqrt(max(grip**2 - (square[here] * curvature[here]) ** 2, 0.0))
        square[there] = min(square[there], square[here] + 2.0 * step * min(traction * left, most))
    if closed:
        square[-1] = square[0]
    return square
