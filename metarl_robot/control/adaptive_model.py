# SPDX-License-Identifier: Apache-2.0
"""A learned forward model s' = f_θ(s, a) that takes gradient steps on the latest transitions (GrBAL).

    s' = s + c ∘ y,    y = network(((s - m) / d, a))
    θ' = θ - α ∘ ∇_θ mean of |y_θ(s, a) - (s' - s) / c|²  over the last M transitions

m, d: mean and standard deviation of states; c: standard deviation of their changes in a step. Nagabandi, Clavera et
al., "Learning to adapt in dynamic, real-world environments through meta-reinforcement learning" (2019), equation 5.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.maml import AdaptedNetwork, Layers

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Scaling:
    """Mean m (n,) and standard deviation d (n,) of states, and standard deviation c (n,) of their changes."""

    mean: Array
    std: Array
    change: Array

    def inputs(self, states: Array, actions: Array) -> Array:
        """Network inputs (…, n + nu) of states (…, n) and actions (…, nu)."""
        return np.concatenate([(states - self.mean) / self.std, actions], axis=-1)

    def targets(self, states: Array, following: Array) -> Array:
        """Network outputs (…, n) that lead from states to those after them."""
        return np.asarray((following - states) / self.change)


@dataclass(frozen=True)
class Trained:
    """Trained layers θ, step sizes α and number of gradient steps; without steps the model does not adapt."""

    layers: Layers
    step_sizes: Layers
    steps: int
    scaling: Scaling


class AdaptiveModel:
    """The model of one robot.

    Arguments:
        memory: M, transitions that the gradient steps use. With fewer the model is θ itself.
    """

    def __init__(self, trained: Trained, memory: int) -> None:
        self._trained, self._memory = trained, memory
        self._first = AdaptedNetwork.trained(trained.layers)
        self.reset()

    def reset(self) -> None:
        """Forget all transitions."""
        self._x: deque[Array] = deque(maxlen=self._memory)
        self._y: deque[Array] = deque(maxlen=self._memory)
        self._network = self._first

    def observe(self, state: Array, action: Array, following: Array) -> None:
        """Adapt to a transition from a state (n,) by an action (nu,), and those before it."""
        scaling = self._trained.scaling
        self._x.append(scaling.inputs(state, action))
        self._y.append(scaling.targets(state, following))
        if len(self._x) < self._memory or self._trained.steps == 0:
            return
        x, y = np.array(self._x), np.array(self._y)
        network = self._first
        for _ in range(self._trained.steps):
            network = network.stepped(self._trained.step_sizes, x, y)
        self._network = network.merged()

    def advance(self, states: Array, actions: Array) -> Array:
        """States (K, n) after states (K, n) and actions (K, nu)."""
        scaling = self._trained.scaling
        return states + scaling.change * self._network.predict(scaling.inputs(states, actions))
