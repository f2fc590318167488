# SPDX-License-Identifier: Apache-2.0
"""Random shooting: the best of plans that are drawn uniformly within the bounds, anew in every step.

As in Nagabandi et al., "Neural network dynamics for model-based deep reinforcement learning with model-free
fine-tuning" (2018).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metarl_robot.control.mppi import Advance, Bounds, Cost, Solution, rolled_out

Array = NDArray[np.float64]


class RandomShooting:
    """A planner with the interface of MPPI. The same seed and the same calls give the same results.

    Arguments:
        samples: plans of one step.
    """

    def __init__(self, samples: int, seed: int, advance: Advance, cost: Cost) -> None:
        self._samples, self._seed, self._advance, self._cost = samples, seed, advance, cost
        self.reset()

    def reset(self) -> None:
        """Start the random numbers from the seed."""
        self._random = np.random.default_rng(self._seed)

    def improve(self, start: Array, inputs: Array, bounds: Bounds) -> Solution:
        """The best plan from a state (n,). inputs (N, nu): returned where no plan has a finite cost."""
        knots, channels = inputs.shape
        lower, upper = bounds.lower[:, None], bounds.upper[:, None]
        plans = lower + (upper - lower) * self._random.random((knots, self._samples, channels))
        with np.errstate(all="ignore"):  # samples that diverge have no finite cost
            costs = self._cost(rolled_out(self._advance, start, plans), plans)
        if not np.isfinite(costs).any():
            return Solution(inputs, False, 0.0)
        return Solution(plans[:, int(np.nanargmin(np.where(np.isfinite(costs), costs, np.nan)))], True, 1.0)
