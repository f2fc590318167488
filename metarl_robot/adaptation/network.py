"""The meta-trained basis functions, evaluated with numpy.

A multilayer perceptron with tanh activations, inputs x = (sin q, cos q, v / v_max), outputs n K numbers read as φ_θ (n, K).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.features import Xi, _Group

Array = NDArray[np.float64]


def encode(q: Array, v: Array, velocity_limit: Array) -> Array:
    """Network inputs (N, 3n) of states (N, n)."""
    return np.concatenate([np.sin(q), np.cos(q), v / velocity_limit], axis=1)


class Perceptron:
    """Weights [(out, in), …] and biases [(out,), …]; tanh between layers, linear at the end."""

    def __init__(self, weights: Sequence[Array], biases: Sequence[Array]) -> None:
        self._weights, self._biases = list(weights), list(biases)

    def hidden(self, x: Array) -> Array:
        """Activations (N, h) of the last hidden layer."""
        for weight, bias in zip(self._weights[:-1], self._biases[:-1], strict=True):
            x = np.tanh(x @ weight.T + bias)
        return x

    def hidden_with_jacobian(self, x: Array) -> tuple[Array, Array]:
        """`hidden` (N, h) and its Jacobian (N, h, n_x)."""
        jacobian = np.broadcast_to(np.eye(x.shape[1]), (len(x), x.shape[1], x.shape[1]))
        for weight, bias in zip(self._weights[:-1], self._biases[:-1], strict=True):
            x = np.tanh(x @ weight.T + bias)
            jacobian = (1.0 - x**2)[:, :, None] * (weight @ jacobian)
        return x, jacobian

    @property
    def head(self) -> tuple[Array, Array]:
        """Weight (out, h) and bias (out,) of the last layer."""
        return self._weights[-1], self._biases[-1]


class NetworkFeatures(_Group):
    """φ_θ(q, v): K learned basis functions per joint."""

    def __init__(self, network: Perceptron, velocity_limit: Array) -> None:
        weight, bias = network.head
        dof = len(velocity_limit)
        self._count = len(bias) // dof
        super().__init__(dof, tuple(f"learned_{i + 1}" for i in range(self._count)))
        self._network = network
        self._velocity_limit = velocity_limit
        self._weight = weight.reshape(dof, self._count, -1)
        self._bias = bias.reshape(dof, self._count)

    def _inputs(self, xi: Xi) -> Array:
        return encode(xi.q, xi.v, self._velocity_limit)

    def design(self, xi: Xi) -> Array:
        hidden = self._network.hidden(self._inputs(xi))
        weight, bias = self._network.head
        return (hidden @ weight.T + bias).reshape(-1, self._dof, self._count)

    def value(self, xi: Xi, z: Array) -> Array:
        hidden = self._network.hidden(self._inputs(xi))
        return hidden @ (z @ self._weight).T + self._bias @ z

    def jacobian(self, xi: Xi, z: Array) -> Array:
        n = self._dof
        _, by_input = self._network.hidden_with_jacobian(self._inputs(xi))
        by_input = (z @ self._weight) @ by_input
        jacobian = np.zeros((len(xi.v), n, 3 * n))
        jacobian[:, :, :n] = by_input[:, :, :n] * np.cos(xi.q)[:, None, :] - by_input[:, :, n : 2 * n] * np.sin(xi.q)[:, None, :]
        jacobian[:, :, n : 2 * n] = by_input[:, :, 2 * n :] / self._velocity_limit
        return jacobian
