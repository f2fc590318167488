# SPDX-License-Identifier: Apache-2.0
"""The meta-trained basis functions.

A multilayer perceptron with tanh activations maps inputs x = (sin q, cos q, v / v_max) to n K outputs, read as φ_θ
(n, K). Derivatives are propagated backwards from the n contracted outputs φ_θ z, because there are fewer of them than
inputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def encode(q: Array, v: Array, velocity_limit: Array) -> Array:
    """Network inputs (N, 3n) of states (N, n)."""
    return np.concatenate([np.sin(q), np.cos(q), v / velocity_limit], axis=1)


class Network(Protocol):
    """A map from inputs x to `size` outputs, read as (n, K)."""

    size: int

    def load(self, weights: Sequence[Array], biases: Sequence[Array]) -> None:
        """Load other weights [(out, in), …] and biases [(out,), …] of the same shapes, used from the next call on."""
        ...

    def outputs(self, x: Array) -> Array:
        """Outputs (N, n K) of inputs x (N, n_x)."""
        ...

    def contracted(self, x: Array, z: Array) -> Array:
        """Outputs at inputs x (N, n_x), contracted with z (K,): (N, n)."""
        ...

    def design(self, q: Array, v: Array, velocity_limit: Array) -> Array:
        """Outputs φ (N, n K) at states (N, n)."""
        ...

    def value(self, q: Array, v: Array, velocity_limit: Array, z: Array) -> Array:
        """Contracted outputs φ z (N, n) for z (K,)."""
        ...

    def value_and_jacobian(self, q: Array, v: Array, velocity_limit: Array, z: Array) -> tuple[Array, Array]:
        """Contracted outputs φ z (N, n) and their Jacobian (N, n, 3n) by q, v and acceleration."""
        ...


def learned_names(network: Network, dof: int) -> tuple[str, ...]:
    """Names of the K context entries."""
    return tuple(f"learned_{i + 1}" for i in range(network.size // dof))


class Perceptron:
    """Network in numpy and double precision: tanh between layers, linear at the end."""

    def __init__(self, weights: Sequence[Array], biases: Sequence[Array]) -> None:
        self.load(weights, biases)

    def load(self, weights: Sequence[Array], biases: Sequence[Array]) -> None:
        self._weights, self._biases = list(weights), list(biases)
        self.size = len(self._biases[-1])

    def outputs(self, x: Array) -> Array:
        return np.asarray(self._activations(x)[-1] @ self._weights[-1].T + self._biases[-1])

    def contracted(self, x: Array, z: Array) -> Array:
        return np.asarray(self.outputs(x).reshape(len(x), -1, len(z)) @ z)

    def design(self, q: Array, v: Array, velocity_limit: Array) -> Array:
        return self.outputs(encode(q, v, velocity_limit))

    def value(self, q: Array, v: Array, velocity_limit: Array, z: Array) -> Array:
        return self.contracted(encode(q, v, velocity_limit), z)

    def value_and_jacobian(self, q: Array, v: Array, velocity_limit: Array, z: Array) -> tuple[Array, Array]:
        n, x = q.shape[1], encode(q, v, velocity_limit)
        activations = self._activations(x)
        weight = z @ self._weights[-1].reshape(-1, len(z), self._weights[-1].shape[1])
        value = activations[-1] @ weight.T + self._biases[-1].reshape(-1, len(z)) @ z
        by_x = np.broadcast_to(weight, (len(q), *weight.shape))
        for below, a in zip(self._weights[-2::-1], activations[:0:-1], strict=True):
            by_x = (by_x * (1.0 - a**2)[:, None, :]) @ below
        jacobian = np.zeros((*by_x.shape[:2], 3 * n))
        jacobian[:, :, :n] = by_x[:, :, :n] * x[:, None, n : 2 * n] - by_x[:, :, n : 2 * n] * x[:, None, :n]
        jacobian[:, :, n : 2 * n] = by_x[:, :, 2 * n :] / velocity_limit
        return value, jacobian

    def _activations(self, x: Array) -> list[Array]:
        """Inputs of each layer."""
        activations = [x]
        for weight, bias in zip(self._weights[:-1], self._biases[:-1], strict=True):
            activations.append(np.tanh(activations[-1] @ weight.T + bias))
        return activations
