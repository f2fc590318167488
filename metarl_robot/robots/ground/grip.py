# SPDX-License-Identifier: Apache-2.0
"""Bounds of the planned commands by the estimated friction: no axle uses more than its own friction circle.

An axle that carries the share n of the weight m g and gets the share t of a torque T keeps its lateral force if

    |t F| <= s √((μ N)² - (n m v ψ')²),    N = n m g - k F,    F = T / r

and at least s_0 of its friction is left to the drive. v and ψ' are speed and yaw rate of the plan; k F is the load that
the force F moves off the axle: braking unloads the rear, which then locks first and no longer keeps the vehicle
straight. A linearised plan does not contain the saturation of the tyres. The torques of two sides may cancel
each other; with skid steering k is therefore taken as zero.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metarl_robot.robots.ground.description import GRAVITY_M_S2, Ground
from metarl_robot.robots.ground.tyre import CREEP_M_S, PEAK_SLIP

Array = NDArray[np.float64]

SLIP_SHARE = 1.5
"""Of the slip with the largest lateral force; beyond it, the force falls."""
LEAST_SPEED_M_S = 0.05
"""Lower speeds, and driving in reverse, count as this one; the angle is then free."""
LEAST_SHARE = 0.3
"""s_0: share of the friction that is always available for driving."""


def torque_bounds(robot: Ground, states: Array, friction: float, mass_kg: float, share: float) -> tuple[Array, Array]:
    """Smallest and largest torque (N, nu) of each channel at states (N, n) [Nm]; infinite for a steering angle.

    share: s, of the circle that the plan may use.
    """
    turning = np.abs(np.hypot(states[:, 3], states[:, 4]) * states[:, 5] / GRAVITY_M_S2)
    turning = np.minimum(turning, np.sqrt(1.0 - LEAST_SHARE**2) * friction)  # no square overflows
    lower, upper = np.full((len(states), robot.nu), -np.inf), np.full((len(states), robot.nu), np.inf)
    track, weight, free = robot.single_track, mass_kg * GRAVITY_M_S2, friction**2 - turning**2
    moved = robot.com_height * track.load_share[:, 1] if robot.is_steered else np.zeros(len(track.positions))
    for channel in np.flatnonzero(robot.torque_channels):
        for part, k, torque in zip(track.load_share[:, 0], moved, track.torque_share[:, channel], strict=True):
            if torque > 0.0:
                least, most = _forces(torque, part * weight, k, share * friction, share**2 * free)
                lower[:, channel] = np.maximum(lower[:, channel], robot.wheel_radius_m * least)
                upper[:, channel] = np.minimum(upper[:, channel], robot.wheel_radius_m * most)
    return lower, upper


def steering_bounds(robot: Ground, states: Array, friction: float, stiffness: float) -> tuple[Array, Array]:
    """Smallest and largest steering angle (N,) at states (N, n) [rad]: slip angles up to SLIP_SHARE of the peak's.

    More steering gives no more force, and plans that are linearised there alternate between full left and full right
    from step to step. stiffness: of the tyres, over the description's.
    """
    track = robot.single_track
    front = int(np.argmax(track.steered))
    forward = np.cos(states[:, 2]) * states[:, 3] + np.sin(states[:, 2]) * states[:, 4]
    across = np.cos(states[:, 2]) * states[:, 4] - np.sin(states[:, 2]) * states[:, 3]
    across = across + track.positions[front, 0] * states[:, 5]
    peak = SLIP_SHARE * PEAK_SLIP * friction / (stiffness * track.cornering_stiffness[front])
    forward = np.maximum(forward, LEAST_SPEED_M_S)
    middle, width = np.arctan2(across, forward), peak * np.hypot(1.0, CREEP_M_S / forward)
    return middle - width, middle + width


def _forces(torque: float, load: float, k: float, friction: float, free: Array) -> tuple[Array, Array]:
    """Smallest and largest F (N,) of one axle: the roots of t² F² = (s μ)² (N² - load²) + free load²."""
    a = max(torque**2 - (friction * k) ** 2, 1e-3 * torque**2)
    b, c = friction**2 * load * k, free * load**2
    root = np.sqrt(b**2 + a * c)
    return -(b + root) / a, (root - b) / a
