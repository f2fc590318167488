# SPDX-License-Identifier: Apache-2.0
"""Model-predictive control of a reward by sampled plans, with a model that is given as a function.

Any kind of robot with a model of many states at once can use it. Actions lie in [-1, 1].
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from metarl_robot.control.mppi import MPPI, Bounds, Sampling
from metarl_robot.control.random_shooting import RandomShooting

Array = NDArray[np.float64]

Model = Callable[[Array, Array], Array]
"""Map states (K, n) and actions (K, nu) to the next states (K, n)."""
Rewards = Callable[[Array, Array, Array], Array]
"""Rewards (…) of states (…, n), actions (…, nu) and next states (…, n)."""

Method = Literal["mppi", "random_shooting"]


@dataclass(frozen=True)
class Planning:
    """How plans are made.

    horizon: H, steps. samples: plans in a step. temperature: of mppi, in standard deviations of the sampled plans'
    returns. noise, correlation: of mppi's samples. iterations: of mppi in each step.
    """

    method: Method
    horizon: int
    samples: int
    temperature: float = 0.2
    noise: float = 0.6
    correlation: float = 0.5
    iterations: int = 1


class ModelPlanner:
    """Plans anew in every step and gives the plan's first action.

    Arguments:
        actions: nu.
    """

    def __init__(self, planning: Planning, actions: int, model: Model, rewards: Rewards, seed: int) -> None:
        self._planning, self._model, self._rewards = planning, model, rewards
        ones = np.ones((planning.horizon, actions))
        self._bounds = Bounds(-ones, ones)
        self._planner: MPPI | RandomShooting
        if planning.method == "mppi":
            noise = np.full(actions, planning.noise)
            sampling = Sampling(planning.samples, planning.temperature, noise, planning.correlation, seed)
            self._planner = MPPI(sampling, self._advance, self._cost)
        else:
            self._planner = RandomShooting(planning.samples, seed, self._advance, self._cost)
        self.reset()

    def reset(self) -> None:
        """Forget the last plan."""
        self._planner.reset()
        self._plan = np.zeros_like(self._bounds.lower)

    def act(self, state: Array) -> Array:
        """The action (nu,) in a state (n,)."""
        for _ in range(self._planning.iterations if self._planning.method == "mppi" else 1):
            self._plan = self._planner.improve(state, self._plan, self._bounds).inputs
        action = self._plan[0].copy()
        self._plan = np.concatenate([self._plan[1:], self._plan[-1:]])
        return action

    def _advance(self, states: Array, actions: Array, knot: int) -> Array:
        return self._model(states, actions)

    def _cost(self, states: Array, actions: Array) -> Array:
        """Negative returns (K,) of plans, in standard deviations of them."""
        returns = self._rewards(states[:-1], actions, states[1:]).sum(axis=0)
        spread = float(np.std(returns[np.isfinite(returns)])) if np.isfinite(returns).any() else 0.0
        return -returns / max(spread, 1e-9)
