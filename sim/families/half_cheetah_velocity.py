# SPDX-License-Identifier: Apache-2.0
"""HalfCheetah that is to run at a speed, as in Finn, Abbeel, Levine (2017), section 5.3, and its code.

r = -|ẋ - g| - 0.05 |a|²      goal g ~ U(0, 2) m/s, not observed
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metarl_robot.sim.families.half_cheetah import HalfCheetahFamily

Array = NDArray[np.float64]

SLOWEST_M_S, FASTEST_M_S = 0.0, 2.0
_CONTROL_COST = 0.05


class HalfCheetahVelocityFamily(HalfCheetahFamily):
    """HalfCheetahs that are to run at different speeds; a task is the speed [m/s]."""

    name = "half-cheetah-velocity"

    def sample_task(self, rng: np.random.Generator) -> float:
        """Draw a speed."""
        return float(rng.uniform(SLOWEST_M_S, FASTEST_M_S))

    def rewards(self, tasks: Array, speeds: Array, actions: Array) -> Array:
        return np.asarray(-np.abs(speeds - tasks) - _CONTROL_COST * np.square(actions).sum(-1))


FAMILY = HalfCheetahVelocityFamily()
