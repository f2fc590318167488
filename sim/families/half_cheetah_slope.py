# SPDX-License-Identifier: Apache-2.0
"""HalfCheetah on a slope that it does not observe, after the sloped terrain of Nagabandi et al. (2019), section 6.

r = ẋ - 0.1 |a|²      along the ground; the cost of control is Gymnasium's

On a plane that is inclined by φ the cheetah moves as on level ground under the gravity g (-sin φ, 0, -cos φ); φ > 0 is
uphill. Slopes up to 8° are for training, steeper ones, up to 12°, are held out. A change of the task during an
episode tilts the whole ground at once; the paper's terrain has bends.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metarl_robot.sim.families.half_cheetah import RunningHalfCheetahFamily

Array = NDArray[np.float64]

STEEPEST_TRAINED, STEEPEST = np.deg2rad(8.0), np.deg2rad(12.0)
_GRAVITY_M_S2 = 9.81


class HalfCheetahSlopeFamily(RunningHalfCheetahFamily):
    """HalfCheetahs on slopes; a task is the slope [rad], positive uphill."""

    name = "half-cheetah-slope"

    def sample_task(self, rng: np.random.Generator) -> float:
        """Draw a slope."""
        return float(rng.uniform(-STEEPEST, STEEPEST))

    def training_task(self, rng: np.random.Generator) -> float:
        return float(rng.uniform(-STEEPEST_TRAINED, STEEPEST_TRAINED))

    def held_out_task(self, rng: np.random.Generator) -> float:
        return float(rng.choice((-1.0, 1.0)) * rng.uniform(STEEPEST_TRAINED, STEEPEST))

    def gravities(self, tasks: Array) -> Array:
        return -_GRAVITY_M_S2 * np.stack([np.sin(tasks), np.zeros_like(tasks), np.cos(tasks)], axis=-1)


FAMILY = HalfCheetahSlopeFamily()
