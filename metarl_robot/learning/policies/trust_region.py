# SPDX-License-Identifier: Apache-2.0
"""A trust-region step: Schulman, Levine, Moritz, Jordan, Abbeel (2015, TRPO).

    maximise J(θ)   subject to   D(θ) ≤ δ          θ ← θ + β x,   H x = ∇J,   H = ∇²D(θ_old),   β = √(2 δ / xᵀHx)

D is the mean divergence from the old policy. The conjugate gradient method solves for x with exact products H v; β
shrinks until J has risen and D is within the region.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Function = Callable[[list[Tensor]], Tensor]
Slope = Callable[[Sequence[Tensor]], tuple[float, Tensor]]
Outcome = Callable[[list[Tensor]], tuple[float, float]]

_ITERATIONS = 10
_DAMPING = 1e-5
_SHRINKING = 0.5
_TRIALS = 15


def trust_region_step(
    parameters: Sequence[Tensor], objective: Slope, outcome: Outcome, metric: Function, radius: float
) -> tuple[list[Tensor], float]:
    """Take a step; returns (new parameters, their divergence), or the old ones and 0 where no step helps.

    Arguments:
        objective: J, to maximise, and its gradient, flat.
        outcome: (J, D) at other parameters.
        metric: a function with D's Hessian at the parameters, possibly on fewer samples.
        radius: δ.
    """
    start = [parameter.detach().requires_grad_() for parameter in parameters]
    value, slope = objective(start)
    if not torch.isfinite(slope).all():
        return [parameter.detach() for parameter in start], 0.0
    product = _products(metric, start)
    direction = conjugate_gradient(product, slope)
    length = math.sqrt(2.0 * radius / max(float(direction @ product(direction)), 1e-12))
    for k in range(_TRIALS):
        moved = _moved(start, _SHRINKING**k * length * direction)
        risen, distance = outcome(moved)
        if distance <= radius and risen > value:
            return [parameter.detach() for parameter in moved], distance
    return [parameter.detach() for parameter in start], 0.0


def gradient_of(function: Function) -> Slope:
    """Value and flat gradient of a function of parameters that require gradients."""

    def both(parameters: Sequence[Tensor]) -> tuple[float, Tensor]:
        value = function(list(parameters))
        return value.item(), flat(torch.autograd.grad(value, parameters))

    return both


def conjugate_gradient(product: Callable[[Tensor], Tensor], target: Tensor) -> Tensor:
    """Solve H x = target approximately; product: v -> H v."""
    solution, residual = torch.zeros_like(target), target.clone()
    search, square = residual.clone(), residual @ residual
    for _ in range(_ITERATIONS):
        if float(square) < 1e-10:
            break
        image = product(search)
        step = square / (search @ image)
        solution = solution + step * search
        residual = residual - step * image
        following = residual @ residual
        search, square = residual + following / square * search, following
    return solution


def flat(tensors: Sequence[Tensor]) -> Tensor:
    """All entries in one vector."""
    return torch.cat([tensor.reshape(-1) for tensor in tensors])


def _products(metric: Function, start: list[Tensor]) -> Callable[[Tensor], Tensor]:
    slope = flat(torch.autograd.grad(metric(start), start, create_graph=True))

    def product(vector: Tensor) -> Tensor:
        return flat(torch.autograd.grad(slope @ vector, start, retain_graph=True)) + _DAMPING * vector

    return product


def _moved(start: list[Tensor], step: Tensor) -> list[Tensor]:
    parts = torch.split(step, [tensor.numel() for tensor in start])
    return [
        (tensor.detach() + part.view_as(tensor)).requires_grad_() for tensor, part in zip(start, parts, strict=True)
    ]
