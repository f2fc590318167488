# SPDX-License-Identifier: Apache-2.0
"""Time in physics steps: their length, delays in whole steps, and the age of MuJoCo's velocities."""

from __future__ import annotations

import numpy as np

PHYSICS_DT_S = 0.001
MAX_DELAY_S = 0.1
"""Longest delay of a command or a measurement: the length of the plants' history."""


def velocity_age(dt_s: float) -> float:
    """Age of MuJoCo's velocities relative to its positions [s].

    MuJoCo's semi-implicit Euler is a leapfrog: exact to second order if velocities belong half a step before positions.
    Velocities taken for those of the same moment would look like an inertia several per cent off. Positions are
    therefore shifted to the time of the velocities.
    """
    return 0.5 * dt_s


def whole_steps(delay_s: float, dt_s: float) -> int:
    """A delay in physics steps, rounded up."""
    return int(np.ceil(delay_s / dt_s - 1e-9))
