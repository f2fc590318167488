# SPDX-License-Identifier: Apache-2.0
"""Gradient of one task's surrogate by a policy's parameters, and products with its Hessian, in closed form.

Layers y_l = W_l x_l + b_l with x_{l+1} = max(y_l, 0); the last y is the mean action μ. With s = log σ, z = (a - μ) / σ
and c = π_θ(a | s) / π_old(a | s) · A · w of each sample, the surrogate J = Σ c (adaptation.py) has the gradient

    δ_last = c z / σ      δ_{l-1} = (W_lᵀ δ_l) · [x_l > 0]      ∂W_l = δ_l x_lᵀ      ∂b_l = Σ δ_l      ∂s = Σ c (z² - 1)

Its derivative along a direction (V_l, v_l, v_s), written R, is the product with the Hessian (Pearlmutter 1994). It uses
x and δ again:

    R y_l = V_l x_l + W_l R x_l + v_l              R c = c (Σ z Rμ / σ + (z² - 1) v_s)
    R δ_{l-1} = (W_lᵀ R δ_l + V_lᵀ δ_l) · [x_l > 0]      R ∂W_l = R δ_l x_lᵀ + δ_l R x_lᵀ

Samples are columns: the factors of a line, stacked, make one product. A row of ones below x gives biases and their
gradients. Arrays are used again for each task and lie in a processor's cache; autograd writes fresh memory for each.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from metarl_robot.learning.policies.sampling import Batch

Packed = list[Tensor]
"""Parameters, or a gradient by them: [W_l, b_l] (out, in + 1) of each layer, then log_std (m,)."""

_LARGEST_BLOCK = 2000
"""Samples. With 100 units, an array has 0.8 MB. Blocks of 1000 took 1.1 times as long, of 500 1.3 times."""

_mask = torch.ops.aten.threshold_backward.grad_input


def packed(parameters: Sequence[Tensor]) -> Packed:
    """Parameters in the order of GaussianPolicy, in the layout of this module."""
    layers = zip(parameters[:-1:2], parameters[1:-1:2], strict=True)
    return [*(torch.cat([weight, bias[:, None]], 1) for weight, bias in layers), parameters[-1]]


def unpacked(parameters: Packed) -> list[Tensor]:
    """Weights, biases and log_std in the order of GaussianPolicy."""
    return [part for layer in parameters[:-1] for part in (layer[:, :-1], layer[:, -1])] + [parameters[-1]]


class ScoreGradient:
    """Gradient and Hessian-vector products of one task at a time.

    Arguments:
        widths: of observation, hidden layers and action.
        samples: number of samples of a task.
        like: a tensor of the parameters' type, on the CPU.
    """

    def __init__(self, widths: Sequence[int], samples: int, like: Tensor) -> None:
        starts = range(0, samples, _LARGEST_BLOCK)
        self._blocks = [_Block(widths, slice(i, min(i + _LARGEST_BLOCK, samples)), like) for i in starts]
        self._parameters: Packed = []

    def at(self, parameters: Packed, batch: Batch) -> tuple[Tensor, Packed]:
        """J and its gradient. batch: samples of one task, without the dimension of tasks."""
        self._parameters = parameters
        slope = [torch.zeros_like(parameter) for parameter in parameters]
        return torch.stack([block.gradient(parameters, batch, slope) for block in self._blocks]).sum(), slope

    def product(self, direction: Packed) -> Packed:
        """The Hessian, at the parameters and samples of the last gradient, times a direction."""
        product = [torch.zeros_like(parameter) for parameter in direction]
        stacked = _Stacked(self._parameters, direction)
        for block in self._blocks:
            block.product(stacked, product)
        return product


class _Stacked:
    """Factors of the Hessian-vector product. forward: [V, v, W] of each layer; back: [Wᵀ, Vᵀ] of all but the first."""

    def __init__(self, parameters: Packed, direction: Packed) -> None:
        layers = list(zip(parameters[:-1], direction[:-1], strict=True))
        self.forward = [direction[0], *(torch.cat([along, layer[:, :-1]], 1) for layer, along in layers[1:])]
        self.back = [torch.cat([layer[:, :-1], along[:, :-1]]).t() for layer, along in layers[1:]]
        self.inverse_std, self.along_log_std = torch.exp(-parameters[-1])[:, None], direction[-1]


class _Block:
    """Samples `own` of a task, in N columns.

    observed: observations, ones. Of each further layer, entered: x_l, ones, R x_l; errors: R δ_l, δ_l.
    first: δ, later R δ, of the first layer. z (m, N), gain: c (N,).
    """

    def __init__(self, widths: Sequence[int], own: slice, like: Tensor) -> None:
        count, hidden = own.stop - own.start, widths[1:-1]
        self._own = own
        self._observed = like.new_ones(widths[0] + 1, count)
        self._entered = [like.new_ones(2 * width + 1, count) for width in hidden]
        self._errors = [like.new_empty(2 * width, count) for width in widths[2:]]
        self._first = like.new_empty(widths[1], count)
        self._z, self._gain = like.new_empty(widths[-1], count), like.new_empty(count)
        self._inputs = [self._observed, *(x[: width + 1] for x, width in zip(self._entered, hidden, strict=True))]
        self._changes = [x[width + 1 :] for x, width in zip(self._entered, hidden, strict=True)]
        self._deltas = [self._first, *(error[len(error) // 2 :] for error in self._errors)]
        self._delta_changes = [self._first, *(error[: len(error) // 2] for error in self._errors)]

    def gradient(self, parameters: Packed, batch: Batch, slope: Packed) -> Tensor:
        """Add the gradient to `slope`; returns Σ c."""
        self._forward(parameters, batch)
        value = self._output(parameters[-1], batch, slope[-1])
        for i in reversed(range(len(self._inputs))):
            entered = self._inputs[i]
            slope[i].addmm_(self._deltas[i], entered.t())
            if i > 0:
                torch.mm(parameters[i][:, :-1].t(), self._deltas[i], out=self._deltas[i - 1])
                _mask(self._deltas[i - 1], entered[:-1], 0, grad_input=self._deltas[i - 1])
        return value

    def _forward(self, parameters: Packed, batch: Batch) -> None:
        """Fill the inputs of all layers, and z."""
        self._observed[:-1].copy_(batch.observations[self._own].t())
        for layer, entered, following in zip(parameters[:-2], self._inputs[:-1], self._inputs[1:], strict=True):
            torch.mm(layer, entered, out=following[:-1]).clamp_min_(0.0)
        mean = torch.mm(parameters[-2], self._inputs[-1])
        torch.sub(batch.actions[self._own].t(), mean, out=self._z).mul_(torch.exp(-parameters[-1])[:, None])

    def _output(self, log_std: Tensor, batch: Batch, by_log_std: Tensor) -> Tensor:
        """Fill c and the last layer's δ; returns Σ c."""
        square = self._z.square()
        drawn = batch.log_prob[self._own] + (log_std.sum() + 0.5 * len(log_std) * math.log(2.0 * math.pi))
        ratio = square.sum(0).mul_(-0.5).sub_(drawn).exp_()
        torch.mul(ratio, batch.advantages[self._own], out=self._gain).mul_(batch.weights[self._own])
        total = self._gain.sum()
        by_log_std.add_(torch.mv(square, self._gain)).sub_(total)
        torch.mul(self._z, torch.exp(-log_std)[:, None], out=self._deltas[-1]).mul_(self._gain)
        return total

    def product(self, stacked: _Stacked, product: Packed) -> None:
        """Add the Hessian-vector product."""
        sources = [self._observed, *self._entered]
        for factor, source, change, entered in zip(
            stacked.forward[:-1], sources[:-1], self._changes, self._inputs[1:], strict=True
        ):
            _mask(torch.mm(factor, source, out=change), entered[:-1], 0, grad_input=change)
        self._output_change(stacked, torch.mm(stacked.forward[-1], sources[-1]), product[-1])
        for i in reversed(range(len(self._inputs))):
            product[i].addmm_(self._delta_changes[i], self._inputs[i].t())
            if i > 0:
                product[i][:, :-1].addmm_(self._deltas[i], self._changes[i - 1].t())
                before = self._delta_changes[i - 1]
                torch.mm(stacked.back[i - 1], self._errors[i - 1], out=before)
                _mask(before, self._inputs[i][:-1], 0, grad_input=before)

    def _output_change(self, stacked: _Stacked, mean_change: Tensor, by_log_std: Tensor) -> None:
        """Fill the last layer's R δ = δ (R c / c - 2 v_s) - c Rμ / σ²."""
        along, square, moved = stacked.along_log_std, self._z.square(), mean_change.mul_(stacked.inverse_std)
        relative = (self._z * moved).sum(0).add_(torch.mv(square.t(), along)).sub_(along.sum())
        gain_change = self._gain * relative
        by_log_std.add_(torch.mv(square, gain_change)).sub_(gain_change.sum())
        by_log_std.sub_(torch.mv(self._z * (moved + self._z * along[:, None]), self._gain), alpha=2.0)
        change = torch.mul(self._deltas[-1], relative - 2.0 * along[:, None], out=self._delta_changes[-1])
        change.sub_(moved.mul_(stacked.inverse_std).mul_(self._gain))
