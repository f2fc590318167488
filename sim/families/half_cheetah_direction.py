# SPDX-License-Identifier: Apache-2.0
"""HalfCheetah that is to run forwards or backwards, as in Finn, Abbeel, Levine (2017), section 5.3.

r = d ẋ - 0.1 |a|²      direction d ∈ {-1, 1}, not observed; the cost of control is Gymnasium's
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metarl_robot.sim.families.half_cheetah import HalfCheetahFamily

Array = NDArray[np.float64]

_CONTROL_COST = 0.1


class HalfCheetahDirectionFamily(HalfCheetahFamily):
    """HalfCheetahs that are to run in one of two directions; a task is the direction, 1.0 or -1.0."""

    name = "half-cheetah-direction"

    def sample_task(self, rng: np.random.Generator) -> float:
        """Draw a direction."""
        return float(rng.choice((-1.0, 1.0)))

    def rewards(self, tasks: Array, speeds: Array, actions: Array) -> Array:
        return np.asarray(tasks * speeds - _CONTROL_COST * np.square(actions).sum(-1))


FAMILY = HalfCheetahDirectionFamily()
