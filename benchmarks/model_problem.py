# SPDX-License-Identifier: Apache-2.0
"""Problems of the model benchmark: a network, plans of an arm's states, and the exact answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.network import Perceptron
from metarl_robot.core.robot import load_robot

Array = NDArray[np.float64]

KNOTS, CONTEXTS = 20, 10


@dataclass(frozen=True)
class Layers:
    """Weights [(out, in), …] and biases [(out,), …] of a perceptron with inputs (sin q, cos q, v / v_max)."""

    weights: list[Array]
    biases: list[Array]

    @staticmethod
    def drawn(rng: np.random.Generator, joints: int, hidden: tuple[int, ...]) -> Layers:
        """Draw layers with the usual initial variance, so that activations neither vanish nor saturate."""
        sizes = (3 * joints, *hidden, joints * CONTEXTS)
        weights = [
            rng.normal(size=(out, entering)) / np.sqrt(entering)
            for entering, out in zip(sizes[:-1], sizes[1:], strict=True)
        ]
        return Layers(weights, [0.1 * rng.normal(size=out) for out in sizes[1:]])

    def contracted(self, z: Array) -> Layers:
        """The same layers with the context z built in: one output for each joint."""
        head = z @ self.weights[-1].reshape(-1, len(z), self.weights[-1].shape[1])
        return Layers([*self.weights[:-1], head], [*self.biases[:-1], self.biases[-1].reshape(-1, len(z)) @ z])


@dataclass(frozen=True)
class Problem:
    """Plans q, v (P, N, n), a context z (K,), layers with `hidden` widths, and other layers of the same size."""

    hidden: tuple[int, ...]
    layers: Layers
    other: Layers
    velocity_limit: Array
    q: Array
    v: Array
    z: Array

    @property
    def mflop(self) -> float:
        """Additions and multiplications, in millions.

        Values forwards, then one row for each output backwards; in the first layer only the columns of (q, v).
        """
        n = self.q.shape[2]
        between = sum(a * b for a, b in zip(self.hidden[:-1], self.hidden[1:], strict=True))
        forwards = 3 * n * self.hidden[0] + between + n * self.hidden[-1]
        backwards = n * (between + 2 * n * self.hidden[0])
        return 2e-6 * KNOTS * (forwards + backwards)

    def exact(self, layers: Layers, plan: int) -> tuple[Array, Array]:
        """Values (N, n) and their Jacobian (N, n, 2n) by (q, v), in double precision."""
        n = self.q.shape[2]
        network = Perceptron(layers.weights, layers.biases)
        value, jacobian = network.value_and_jacobian(self.q[plan], self.v[plan], self.velocity_limit, self.z)
        return value, jacobian[:, :, : 2 * n]


class Model(Protocol):
    """An implementation that is measured."""

    def evaluate(self, plan: int) -> object:
        """Compute values and Jacobian at the knots of a plan; this call is timed."""
        ...

    def answer(self, plan: int) -> tuple[Array, Array]:
        """The same as arrays (N, n) and (N, n, 2n)."""
        ...


def problem(depth: int, width: int, plans: int) -> Problem:
    """Make a problem with the Panda's inputs and outputs."""
    robot, rng, hidden = load_robot("panda"), np.random.default_rng(0), (width,) * depth
    q, v = rng.uniform(-1.0, 1.0, size=(2, plans, KNOTS, robot.dof))
    layers, other = (Layers.drawn(rng, robot.dof, hidden) for _ in range(2))
    return Problem(
        hidden, layers, other, robot.velocity_limit, robot.home + q, v * robot.velocity_limit, rng.normal(size=CONTEXTS)
    )


def relative_error(answer: tuple[Array, Array], exact: tuple[Array, Array]) -> float:
    """Largest difference of value or Jacobian, over the largest entry of either."""
    return max(float(np.abs(a - b).max() / np.abs(b).max()) for a, b in zip(answer, exact, strict=True))
