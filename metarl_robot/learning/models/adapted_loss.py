# SPDX-License-Identifier: Apache-2.0
"""Losses of a perceptron after inner gradient steps on each of many tasks, and their exact derivatives.

A layer is y = x Wᵀ + b, with tanh between layers. The samples of a task enter it as X (N, in) and send errors D (N,
out) back through it. Its gradients are Dᵀ X for W and Σ D for b. After steps of sizes α and β along them, the layer
and its backward pass are

    y = x Wᵀ + b - Σ_steps (α x Xᵀ + β) D
    u = δ W - Σ_steps α (δ Dᵀ) X

No array of the weights' size is formed for a task. All products with W use the W of θ, for the samples of all tasks
at once; only thin matrices differ between tasks. Both lines are bilinear in any two of their factors. Their adjoints,
below, are products of the same kind; their whole contribution to the derivative by W is one product of stacked rows.
The outer derivative calls the adjoints in reverse order. With second order it also calls those of the inner passes,
on which X and D depend.

Autograd through the same formulas took 1.25 times as long with three layers of 64, and 1.15 times with 512 (one
core). Threads are those of numpy's OpenBLAS (OPENBLAS_NUM_THREADS), not torch's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]


class Parameters(NamedTuple):
    """Parameters θ and the step sizes, one entry per layer.

    Or derivatives by θ and by the logarithms of the step sizes.
    """

    weights: Sequence[Array]
    biases: Sequence[Array]
    weight_steps: Sequence[float]
    bias_steps: Sequence[float]


class Tasks(NamedTuple):
    """Samples of B tasks.

    Support: x (B, N, n_x), y (B, N, n), weight (B, N) of each sample. Query: query_x (B, Q, n_x), query_y (B, Q, n).
    """

    x: Array
    y: Array
    weight: Array
    query_x: Array
    query_y: Array


class Memory:
    """Reusable arrays, handed out in the order of the requests.

    Fresh memory pages would cost as much as the products.
    """

    def __init__(self) -> None:
        self._arrays: list[Array] = []
        self._taken = 0

    def restart(self) -> None:
        """Make all arrays available again."""
        self._taken = 0

    def take(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """An array with undefined content."""
        k, self._taken = self._taken, self._taken + 1
        if k == len(self._arrays):
            self._arrays.append(np.empty(shape, dtype))
        elif self._arrays[k].shape != shape or self._arrays[k].dtype != dtype:
            self._arrays[k] = np.empty(shape, dtype)
        return self._arrays[k]

    def like(self, array: Array) -> Array:
        return self.take(array.shape, array.dtype)


class _Step:
    """Contribution of a gradient step to a layer: X (B, N, in) and D (B, N, out).

    by_inputs, by_deltas: derivatives by both, accumulated so far.
    """

    def __init__(self, inputs: Array, deltas: Array, memory: Memory) -> None:
        self.inputs, self.deltas = inputs, deltas
        self.by_inputs, self.by_deltas = memory.like(inputs), memory.like(deltas)
        self.by_inputs.fill(0.0)
        self.by_deltas.fill(0.0)


class _Rows(NamedTuple):
    """Row ranges of a layer: the query, then the inner steps' forward passes, then their backward passes."""

    query: slice
    forward: list[slice]
    backward: list[slice]
    forward_end: int
    end: int

    @staticmethod
    def of(tasks: Tasks, steps: int) -> _Rows:
        start, samples = tasks.query_x[..., 0].size, tasks.x[..., 0].size
        slices = [slice(start + k * samples, start + (k + 1) * samples) for k in range(2 * steps)]
        return _Rows(
            slice(0, start), slices[:steps], slices[steps:], start + steps * samples, start + 2 * steps * samples
        )


class _Layer:
    """A layer after the steps taken so far. Arrays (B, N, …) are samples of the B tasks.

    left (rows, out), right (rows, in): the derivative by W is leftᵀ right.
    """

    def __init__(
        self, weight: Array, bias: Array, weight_step: float, bias_step: float, rows: int, memory: Memory
    ) -> None:
        self._weight, self._bias, self._weight_step, self._bias_step = weight, bias, weight_step, bias_step
        out, entering = weight.shape
        self.left, self.right = memory.take((rows, out), weight.dtype), memory.take((rows, entering), weight.dtype)
        self._memory = memory
        self.steps: list[_Step] = []
        self.by_log_weight_step, self.by_log_bias_step = 0.0, 0.0

    def forward(self, x: Array, y: Array) -> None:
        """Compute y (B, N, out) from x (B, N, in)."""
        np.matmul(_flat(x), self._weight.T, out=_flat(y))
        y += self._bias
        for step in self.steps:
            y -= self._mixing(x, step) @ step.deltas

    def _mixing(self, x: Array, step: _Step) -> Array:
        """Mixing matrix α x Xᵀ + β (B, ·, N)."""
        mixing = x @ _transposed(step.inputs)
        mixing *= self._weight_step
        mixing += self._bias_step
        return mixing

    def backward(self, delta: Array) -> Array:
        """Compute u (B, N, in) from δ (B, N, out)."""
        u = self._product(delta, self._weight)
        for step in self.steps:
            u -= (self._weight_step * (delta @ _transposed(step.deltas))) @ step.inputs
        return u

    def forward_adjoint(self, x: Array, by_y: Array) -> Array:
        """Derivative by x from that by y; adds those by the steps' X, D and sizes.

        `left` and `right` give the derivatives by W and b.
        """
        by_x = self._product(by_y, self._weight)
        for step, against in zip(self.steps, self.steps_adjoint(x, by_y), strict=True):
            against *= self._weight_step
            step.by_inputs -= _transposed(against) @ x
            by_x -= against @ step.inputs
        return by_x

    def steps_adjoint(self, x: Array, by_y: Array) -> list[Array]:
        """Add the derivatives by the steps' D and sizes only, for given inputs; returns by_y Dᵀ of each step."""
        products: list[Array] = []
        for step in self.steps:
            mixing, against = self._mixing(x, step), by_y @ _transposed(step.deltas)
            along, by_log_bias_step = float(np.vdot(against, mixing)), self._bias_step * float(against.sum())
            self.by_log_weight_step -= along - by_log_bias_step
            self.by_log_bias_step -= by_log_bias_step
            step.by_deltas -= _transposed(mixing) @ by_y
            products.append(against)
        return products

    def backward_adjoint(self, delta: Array, by_u: Array) -> Array:
        """Derivative by δ from that by u; adds those by the steps' X, D and α."""
        by_delta = self._product(by_u, self._weight.T)
        for step in self.steps:
            mixing, against = delta @ _transposed(step.deltas), self._weight_step * (by_u @ _transposed(step.inputs))
            self.by_log_weight_step -= float(np.vdot(against, mixing))
            mixing *= self._weight_step
            step.by_inputs -= _transposed(mixing) @ by_u
            step.by_deltas -= _transposed(against) @ delta
            by_delta -= against @ step.deltas
        return by_delta

    def _product(self, samples: Array, matrix: Array) -> Array:
        """Product of samples (B, N, k) and a matrix (k, m): (B, N, m)."""
        product = self._memory.take((*samples.shape[:2], matrix.shape[1]), matrix.dtype)
        np.matmul(_flat(samples), matrix, out=_flat(product))
        return product


class _InnerPass(NamedTuple):
    """Intermediate arrays of one inner step, for each layer.

    entered: inputs h (B, N, in). slopes: 1 - h². deltas: errors δ (B, N, out). back: u (B, N, in), empty for the
        first layer.
    """

    entered: list[Array]
    slopes: list[Array]
    deltas: list[Array]
    back: list[Array]


class AdaptedLoss:
    """Query losses (B,) after gradient steps on the weighted support loss.

    The loss is L = mean over samples and outputs of (f - y)².

    Arguments:
        parameters: θ and step sizes.
        tasks: the samples, of the parameters' type.
        steps: number of steps, each on the whole support.
        memory: in use by this loss until the gradient is computed.
    """

    def __init__(self, parameters: Parameters, tasks: Tasks, steps: int, memory: Memory) -> None:
        self._tasks, self._rows, self._memory = tasks, _Rows.of(tasks, steps), memory
        memory.restart()
        self._layers = [_Layer(*layer, self._rows.end, memory) for layer in zip(*parameters, strict=True)]
        share = 2.0 / tasks.y.shape[2] * tasks.weight / tasks.weight.sum(axis=1, keepdims=True)
        self._share = share[..., None].astype(tasks.y.dtype)
        self._passes = [self._step(k) for k in range(steps)]
        self._entered, self._missed = self._forward(self._rows.query, tasks.query_x)
        self._missed -= tasks.query_y
        self.losses = np.square(self._missed).mean(axis=(1, 2))

    def _forward(self, rows: slice, x: Array) -> tuple[list[Array], Array]:
        """Inputs of each layer, and the outputs (B, N, n)."""
        entered = [self._tasked(layer.right[rows]) for layer in self._layers]
        entered[0][:] = x
        for layer, before, after in zip(self._layers[:-1], entered[:-1], entered[1:], strict=True):
            layer.forward(before, after)
            np.tanh(after, out=after)
        y = self._memory.take((*x.shape[:2], self._tasks.y.shape[2]), x.dtype)
        self._layers[-1].forward(entered[-1], y)
        return entered, y

    def _step(self, k: int) -> _InnerPass:
        """Take inner step k."""
        entered, y = self._forward(self._rows.forward[k], self._tasks.x)
        slopes = [self._slope(h) for h in entered]
        deltas = [self._tasked(layer.left[self._rows.backward[k]]) for layer in self._layers]
        back: list[Array] = [np.empty(0)] * len(deltas)
        y -= self._tasks.y
        np.multiply(y, self._share, out=deltas[-1])
        for i in reversed(range(1, len(deltas))):
            back[i] = self._layers[i].backward(deltas[i])
            np.multiply(back[i], slopes[i], out=deltas[i - 1])
        for layer, x, delta in zip(self._layers, entered, deltas, strict=True):
            layer.steps.append(_Step(x, delta, self._memory))
        return _InnerPass(entered, slopes, deltas, back)

    def gradient(self, by_losses: Array, second_order: bool) -> Parameters:
        """Derivatives of Σ by_losses (B,) · losses; can be called once.

        second_order: False treats the inner gradients as constants.
        """
        by_y = self._tasked(self._layers[-1].left[self._rows.query])
        np.multiply(self._missed, (2.0 / self._missed[0].size * by_losses)[:, None, None], out=by_y)
        self._forward_adjoint(self._rows.query, self._entered, [self._slope(h) for h in self._entered], None)
        for k in reversed(range(len(self._passes))):
            taken = [layer.steps.pop() for layer in self._layers]
            if second_order:
                self._step_adjoint(k, taken)
        return self._collected(second_order)

    def _forward_adjoint(
        self, rows: slice, entered: list[Array], slopes: list[Array], by_entered: list[Array] | None
    ) -> None:
        """Back-propagate from the derivative by the outputs, in the last layer's left rows, to the first layer's.

        by_entered: further derivatives by the inputs of each layer.
        """
        by_y = [self._tasked(layer.left[rows]) for layer in self._layers]
        for i in reversed(range(1, len(by_y))):
            by_x = self._layers[i].forward_adjoint(entered[i], by_y[i])
            if by_entered is not None:
                by_x += by_entered[i]
            np.multiply(by_x, slopes[i], out=by_y[i - 1])
        self._layers[0].steps_adjoint(entered[0], by_y[0])

    def _step_adjoint(self, k: int, taken: list[_Step]) -> None:
        """Back-propagate through inner step k, from the derivatives by its contributions to each layer."""
        entered, slopes, deltas, back = self._passes[k]
        by_entered: list[Array] = [np.empty(0)] * len(taken)
        by_delta = taken[0].by_deltas
        for i in range(1, len(taken)):
            by_u = self._tasked(self._layers[i].right[self._rows.backward[k]])
            np.multiply(by_delta, slopes[i], out=by_u)
            by_entered[i] = np.multiply(-2.0, entered[i], out=self._memory.like(entered[i]))
            by_entered[i] *= back[i]
            by_entered[i] *= by_delta
            by_entered[i] += taken[i].by_inputs
            by_delta = self._layers[i].backward_adjoint(deltas[i], by_u)
            by_delta += taken[i].by_deltas
        rows = self._rows.forward[k]
        np.multiply(by_delta, self._share, out=self._tasked(self._layers[-1].left[rows]))
        self._forward_adjoint(rows, entered, slopes, by_entered)

    def _collected(self, second_order: bool) -> Parameters:
        """Collect all derivatives; with first order, those of the query's rows only.

        The first layer has no backward rows: it passes no errors back.
        """
        forward = self._rows.forward_end if second_order else self._rows.query.stop
        ends = [forward] + [self._rows.end if second_order else forward] * (len(self._layers) - 1)
        return Parameters(
            [layer.left[:end].T @ layer.right[:end] for layer, end in zip(self._layers, ends, strict=True)],
            [layer.left[:forward].sum(axis=0) for layer in self._layers],
            [layer.by_log_weight_step for layer in self._layers],
            [layer.by_log_bias_step for layer in self._layers],
        )

    def _slope(self, h: Array) -> Array:
        """Derivative of tanh at the output h."""
        slope = np.multiply(h, h, out=self._memory.like(h))
        return np.subtract(1.0, slope, out=slope)

    def _tasked(self, rows: Array) -> Array:
        """Rows (B N, k) as samples (B, N, k)."""
        return rows.reshape(len(self._tasks.x), -1, rows.shape[1])


def _flat(samples: Array) -> Array:
    """Samples (B, N, k) as rows (B N, k)."""
    return samples.reshape(-1, samples.shape[2])


def _transposed(samples: Array) -> Array:
    return samples.transpose(0, 2, 1)
