# SPDX-License-Identifier: Apache-2.0
"""HalfCheetah with a dead motor that is to run forwards, as in Nagabandi et al. (2019), section 6.

r = ẋ - 0.1 |a|²      which of the six motors is dead is not observed; the cost of control is Gymnasium's

The paper's code (github.com/iclavera/learning_to_adapt) draws one of motors 1 to 5 in training; motor 0 is held out.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metarl_robot.sim.families.half_cheetah import MOTORS, RunningHalfCheetahFamily

Array = NDArray[np.float64]

_HELD_OUT = 0


class HalfCheetahCrippleFamily(RunningHalfCheetahFamily):
    """HalfCheetahs with a dead motor; a task is the motor's number, from 0 to MOTORS - 1."""

    name = "half-cheetah-cripple"

    def sample_task(self, rng: np.random.Generator) -> float:
        """Draw a motor."""
        return float(rng.integers(MOTORS))

    def training_task(self, rng: np.random.Generator) -> float:
        return float(rng.integers(_HELD_OUT + 1, MOTORS))

    def held_out_task(self, rng: np.random.Generator) -> float:
        return float(_HELD_OUT)

    def strengths(self, tasks: Array) -> Array:
        return np.asarray(np.arange(MOTORS) != tasks[:, None], dtype=np.float64)


FAMILY = HalfCheetahCrippleFamily()
