# SPDX-License-Identifier: Apache-2.0
"""A vehicle's ground and load as quantities of its context (core/quantities.py)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.quantities import Estimate, Quantity
from metarl_robot.core.signals import Context
from metarl_robot.robots.ground.context_names import FRICTION, MASS, ROLLING, SLOPES

Array = NDArray[np.float64]


class TerrainReport:
    """Peak friction of the tyres on the ground, rolling resistance, rise of the ground along world x and y.

    friction, rolling: those of the robot's description, to which the context's entries relate.
    """

    name = "terrain"
    quantities: tuple[Quantity, ...] = (
        Quantity("friction", "ratio", "friction", "1", scored=True, decimals=2),
        Quantity("rolling_resistance", "ratio", "rolling resistance", "1", calibrated=True),
        Quantity("slope_x", "rad", "slope along x", "rad", calibrated=True),
        Quantity("slope_y", "rad", "slope along y", "rad", calibrated=True),
    )

    def __init__(self, friction: float, rolling: float) -> None:
        self._friction, self._rolling = friction, rolling

    def estimate(self, context: Context) -> Estimate | None:
        if FRICTION not in context.names:
            return None
        log, log_std = context[FRICTION]
        friction = self._friction * np.exp(log)
        nothing = (np.nan, np.nan)
        change, change_std = context[ROLLING] if ROLLING in context.names else nothing
        slopes = np.array([context[name] if name in context.names else nothing for name in SLOPES])
        mean = np.array([friction, self._rolling + change, *slopes[:, 0]])
        return Estimate(mean, np.array([friction * log_std, change_std, *slopes[:, 1]]))

    def change(self, before: Array, after: Array) -> str:
        changes = []
        if before[0] != after[0]:
            changes.append(f"friction {before[0]:.2f} -> {after[0]:.2f}")
        if not np.array_equal(before[2:], after[2:]):
            changes.append("the slope changes")
        return ", ".join(changes)


class LoadReport:
    """Mass of a load on the vehicle [kg]."""

    name = "load"
    quantities: tuple[Quantity, ...] = (Quantity("payload_mass", "kg", "mass", "kg", scored=True),)

    def estimate(self, context: Context) -> Estimate | None:
        if MASS not in context.names:
            return None
        mass, std = context[MASS]
        return Estimate(np.array([mass]), np.array([std]))

    def change(self, before: Array, after: Array) -> str:
        if before[0] == after[0]:
            return ""
        return "load put on" if after[0] > before[0] else "load taken off"
