# SPDX-License-Identifier: Apache-2.0
"""Model-predictive path integral control: improve a plan by a weighted mean of sampled plans.

    V_i = clip(U + ε_i),    w_i ∝ exp(-(S(V_i) - min_j S(V_j)) / λ),    U ← Σ_i w_i V_i

Williams et al. 2017, "Information theoretic MPC for model-based reinforcement learning", ICRA, algorithm 2 with α = 1:
samples are drawn about the present plan and the cost S holds all costs of inputs. The noise ε is correlated in time,
so that plans are smooth. Sampled plans lie within bounds and rates; these sets are convex, so the mean does too.

The warm start, a shift of the last plan, is the caller's: see warm_start.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

Advance = Callable[[Array, Array, int], Array]
"""Map (k, states (K, n), inputs (K, nu)) at knot k to the next states (K, n); the result may be overwritten later."""
Cost = Callable[[Array, Array], Array]
"""Costs (K,) of states (N + 1, K, n) and inputs (N, K, nu)."""


@dataclass(frozen=True)
class Sampling:
    """How plans are sampled.

    samples: K, plans of one iteration; the first is the present plan without noise. temperature: λ, in units of the
    cost. noise: (nu,) standard deviation of each input. correlation: of the noise at successive knots, in [0, 1).
    seed: of the random numbers.
    """

    samples: int
    temperature: float
    noise: Array
    correlation: float = 0.0
    seed: int = 0


class Bounds(NamedTuple):
    """Lower and upper bounds (N, nu) of inputs, and the largest change (nu,) from knot to knot.

    Where a bound moves faster than inputs may change, the bound has priority.
    """

    lower: Array
    upper: Array
    change: Array | float = np.inf


class Solution(NamedTuple):
    """An improved plan.

    inputs: (N, nu). optimal: whether any sample had a finite cost; if not, the inputs are the given ones, clipped.
    effective: effective number of samples, 1 / Σ w².
    """

    inputs: Array
    optimal: bool
    effective: float


class MPPI:
    """See the module's docstring. The same seed and the same calls give the same results."""

    def __init__(self, sampling: Sampling, advance: Advance, cost: Cost) -> None:
        self._sampling, self._advance, self._cost = sampling, advance, cost
        self.reset()

    def reset(self) -> None:
        """Start the random numbers from the seed."""
        self._random = np.random.default_rng(self._sampling.seed)

    def improve(self, start: Array, inputs: Array, bounds: Bounds) -> Solution:
        """Improve inputs (N, nu) of a plan from a state (n,) by one iteration."""
        plans = _clipped(inputs[:, None] + self._noise(*inputs.shape), bounds)
        with np.errstate(all="ignore"):  # samples that diverge get no weight
            costs = self._cost(rolled_out(self._advance, start, plans), plans)
        weights = _weights(costs, self._sampling.temperature)
        if weights is None:
            return Solution(plans[:, 0], False, 0.0)
        mean = np.einsum("k,nkj->nj", weights, np.where(weights[:, None] > 0.0, plans, 0.0))
        return Solution(np.clip(mean, bounds.lower, bounds.upper), True, 1.0 / float(weights @ weights))

    def _noise(self, knots: int, channels: int) -> Array:
        """Noise (N, K, nu) that is stationary and correlated in time; none for the first sample."""
        sampling = self._sampling
        white = self._random.standard_normal((knots, channels, sampling.samples))
        before, new = sampling.correlation, np.sqrt(1.0 - sampling.correlation**2)
        for k in range(1, knots):
            white[k] = before * white[k - 1] + new * white[k]
        white[:, :, 0] = 0.0
        return np.asarray((white * sampling.noise[:, None]).swapaxes(1, 2))


def rolled_out(advance: Advance, start: Array, plans: Array) -> Array:
    """States (N + 1, K, n) from a state (n,) under plans (N, K, nu)."""
    knots, count, _ = plans.shape
    states = np.empty((knots + 1, len(start), count)).swapaxes(1, 2)  # components apart, as compiled code has them
    states[0] = start
    for k in range(knots):
        states[k + 1] = advance(states[k], plans[k], k)
    return states


def _clipped(plans: Array, bounds: Bounds) -> Array:
    """Plans (N, K, nu) within bounds."""
    lower, upper, change = bounds.lower[:, None], bounds.upper[:, None], bounds.change
    plans[0] = np.clip(plans[0], lower[0], upper[0])
    for k in range(1, len(plans)):
        near = np.clip(plans[k], plans[k - 1] - change, plans[k - 1] + change)
        plans[k] = np.clip(near, lower[k], upper[k])
    return plans


def _weights(costs: Array, temperature: float) -> Array | None:
    """Weights (K,) of samples by their costs; None if no cost is finite."""
    finite = np.isfinite(costs)
    if not finite.any():
        return None
    excess = np.where(finite, costs, np.inf) - costs[finite].min()
    weights = np.exp(-excess / temperature)
    return np.asarray(weights / weights.sum())
