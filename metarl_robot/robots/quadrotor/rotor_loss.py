# SPDX-License-Identifier: Apache-2.0
"""Whether a multirotor still hovers, with control of thrust and all torques, when one rotor gives nothing.

The largest margin t with which thrusts u of the others hold the nominal weight without torque:

    max t,     A u = (m g, 0, 0, 0),     lower + t (upper - lower) <= u <= upper - t (upper - lower)

It exists with t > 0 where the weight lies inside the attainable wrenches, which is needed for control about a hover
(Du, Quan, Yang, Cai, "Controllability analysis for multirotor helicopter rotor degradation and failure", 2015). A
hexarotor whose neighbours turn alternately has none: with its opposite rotor at zero nothing is left for yaw.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import linprog

from metarl_robot.robots.quadrotor.description import GRAVITY_M_S2, Quadrotor

LEAST_MARGIN = 0.01
"""Least margin of each rotor, share of its range, that counts as control."""


def hover_margin(robot: Quadrotor, lost: int | None = None) -> float:
    """Largest margin t, share of the rotors' range, of a hover without a rotor; negative: no hover at all."""
    kept = [i for i in range(robot.nu) if i != lost]
    lower, room = robot.effort_lower[kept], (robot.effort_limit - robot.effort_lower)[kept]
    count = len(kept)
    hover = np.array([robot.mass_kg * GRAVITY_M_S2, 0.0, 0.0, 0.0])
    equal = np.hstack([robot.allocation[:, kept] * room, np.zeros((4, 1))])  # u = lower + room share
    within = np.vstack(
        [np.hstack([-np.eye(count), np.ones((count, 1))]), np.hstack([np.eye(count), np.ones((count, 1))])]
    )
    found = linprog(
        np.append(np.zeros(count), -1.0),
        within,
        np.repeat([0.0, 1.0], count),
        equal,
        hover - robot.allocation[:, kept] @ lower,
        [(None, None)] * count + [(-1.0, 0.5)],
    )
    return float(-found.fun) if found.success else -1.0


def hovers_without(robot: Quadrotor, lost: int) -> bool:
    """Whether control about a hover remains without a rotor."""
    others = np.delete(robot.allocation, lost, axis=1)
    spans = np.linalg.matrix_rank(others / np.abs(robot.allocation).max(axis=1, keepdims=True), tol=1e-6) == 4
    return bool(spans and hover_margin(robot, lost) > LEAST_MARGIN)
