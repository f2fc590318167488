# SPDX-License-Identifier: Apache-2.0
"""HalfCheetah with a dead motor, as in Nagabandi et al., "Learning to Adapt in Dynamic, Real-World Environments through
Meta-Reinforcement Learning" (2019).

    r = ẋ - 0.1 |a|²      the motor that gives no torque is drawn, and not observed

Actions of the dead motor cost as those of the others do. Reward and observations are those of Gymnasium's
HalfCheetah-v5.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metarl_robot.sim.families.half_cheetah import MOTORS, HalfCheetahFamily

Array = NDArray[np.float64]

_CONTROL_COST = 0.1


class HalfCheetahCrippleFamily(HalfCheetahFamily):
    """HalfCheetahs with a dead motor; a task is the motor's number, from 0 to MOTORS - 1."""

    name = "half-cheetah-cripple"

    def sample_task(self, rng: np.random.Generator) -> float:
        """Draw a motor."""
        return float(rng.integers(MOTORS))

    def rewards(self, tasks: Array, speeds: Array, actions: Array) -> Array:
        return np.asarray(speeds - _CONTROL_COST * np.square(actions).sum(-1))

    def strengths(self, tasks: Array) -> Array:
        return np.asarray(np.arange(MOTORS) != tasks[:, None], dtype=np.float64)


FAMILY = HalfCheetahCrippleFamily()
