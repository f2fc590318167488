# SPDX-License-Identifier: Apache-2.0
"""Mean actions of trained policies in numpy; N policies of the same weights run side by side.

A recurrent policy maps x = (observation, last action, last reward, whether an episode begins) through layers of
rectified linear units to a gated recurrent unit (Cho et al. 2014) with state h, and h to its mean action:

    r = σ(W_r x + U_r h)   z = σ(W_z x + U_z h)   n = tanh(W_n x + r (U_n h))   h ← (1 - z) n + z h   a = A h
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from metarl_robot.control.policy_layout import RECURRENT

Array = NDArray[Any]
Layers = list[tuple[Array, Array]]


class PolicyNetwork(Protocol):
    """Mean actions of N policies."""

    def reset(self, count: int) -> None:
        """Begin anew with so many policies, without memory."""
        ...

    def act(self, observations: Array, rewards: Array, starts: Array) -> Array:
        """Mean actions (N, m) at observations (N, n).

        Arguments:
            rewards: (N,) for the last actions. starts: (N,) 1 where an episode begins, else 0.
        """
        ...

    def acted(self, actions: Array) -> None:
        """Report the actions (N, m) that act."""
        ...


class Recurrent:
    """A recurrent policy; computes in the precision of its parameters (control/policy_layout.py).

    last_action: (N, m) that act.
    """

    def __init__(self, tensors: Mapping[str, Array]) -> None:
        self._encoder, self._head = _layers(tensors, "encoder"), (tensors["action.weight"].T, tensors["action.bias"])
        self._by_input, self._input_bias = tensors["gru.weight_ih_l0"].T, tensors["gru.bias_ih_l0"]
        self._by_state, self._state_bias = tensors["gru.weight_hh_l0"].T, tensors["gru.bias_hh_l0"]
        self.reset(1)

    def reset(self, count: int) -> None:
        kind = self._by_state.dtype
        self._state = np.zeros((count, len(self._by_state)), kind)
        self.last_action = np.zeros((count, len(self._head[1])), kind)

    def act(self, observations: Array, rewards: Array, starts: Array) -> Array:
        return self.advance(self.inputs(observations, rewards, starts))

    def acted(self, actions: Array) -> None:
        self.last_action = actions.astype(self._by_state.dtype)

    def inputs(self, observations: Array, rewards: Array, starts: Array) -> Array:
        """Inputs x (N, k) of the next call of `advance`."""
        parts = observations, self.last_action, rewards[:, None], starts[:, None]
        return np.concatenate(parts, axis=1).astype(self._by_state.dtype)

    def advance(self, x: Array, going: NDArray[np.bool_] | None = None) -> Array:
        """Mean actions (N, m) at inputs x. going: (N,) whose state advances; None: all."""
        for weight, bias in self._encoder:
            x = np.maximum(x @ weight + bias, 0.0)
        by_input, by_state = x @ self._by_input + self._input_bias, self._state @ self._by_state + self._state_bias
        size = self._state.shape[1]
        gates = 0.5 + 0.5 * np.tanh(0.5 * (by_input[:, : 2 * size] + by_state[:, : 2 * size]))  # logistic function
        reset, update = gates[:, :size], gates[:, size:]
        candidate = np.tanh(by_input[:, 2 * size :] + reset * by_state[:, 2 * size :])
        state = candidate + update * (self._state - candidate)
        self._state = state if going is None else np.where(going[:, None], state, self._state)
        return np.asarray(state @ self._head[0] + self._head[1])


class Feedforward:
    """A policy without memory: a perceptron of the observation."""

    def __init__(self, tensors: Mapping[str, Array]) -> None:
        self._layers = _layers(tensors, "network")

    def reset(self, count: int) -> None:
        pass

    def act(self, observations: Array, rewards: Array, starts: Array) -> Array:
        x = observations
        for i, (weight, bias) in enumerate(self._layers):
            x = (np.maximum(x, 0.0) if i else x) @ weight + bias
        return x

    def acted(self, actions: Array) -> None:
        pass


def network_of(algo: str, tensors: Mapping[str, Array]) -> PolicyNetwork:
    """The network of a policy that an algorithm has trained."""
    return Recurrent(tensors) if algo in RECURRENT else Feedforward(tensors)


def _layers(tensors: Mapping[str, Array], name: str) -> Layers:
    """Transposed weights and biases of the layers `name`.0, `name`.1 …"""
    count = sum(key.startswith(f"{name}.") and key.endswith(".weight") for key in tensors)
    return [(tensors[f"{name}.{i}.weight"].T, tensors[f"{name}.{i}.bias"]) for i in range(count)]
