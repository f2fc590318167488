# SPDX-License-Identifier: Apache-2.0
"""Gaussian policy: a perceptron gives the mean action, its standard deviation does not depend on the observation.

    π_θ(a | s) = N(a; μ_θ(s), diag(σ²))

Functional: parameters are passed in, one set for each of B tasks, so that adapted policies of all tasks are computed
at once. Layers are weight (B, out, in) and bias (B, out), then log_std (B, m). Rectified linear units, as published.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from metarl_robot.control.policy_layout import shapes

Array = NDArray[np.float32]
Parameters = list[Tensor]

FIRST_MEANS = 0.1
"""Factor of the last layer's first weights, so that an untrained policy hardly drifts to one side."""


class Gaussian(NamedTuple):
    """A distribution of actions: mean (B, N, m), log_std (B, 1, m)."""

    mean: Tensor
    log_std: Tensor

    def log_prob(self, actions: Tensor) -> Tensor:
        """Logarithm of the density of actions (B, N, m) -> (B, N)."""
        error = (actions - self.mean) * torch.exp(-self.log_std)
        return (-0.5 * error.square() - self.log_std - 0.5 * math.log(2.0 * math.pi)).sum(-1)

    def divergence(self, other: Gaussian) -> Tensor:
        """Kullback-Leibler divergence KL(self, other) of each observation (B, N)."""
        change = other.log_std - self.log_std
        ratio = torch.exp(-2.0 * change) + ((other.mean - self.mean) * torch.exp(-other.log_std)).square()
        return (0.5 * ratio + change - 0.5).sum(-1)


class GaussianPolicy:
    """Layout of the parameters. widths: of observation, hidden layers and action.

    Arguments:
        observations, actions: sizes.
        hidden: widths of the hidden layers.
    """

    def __init__(self, observations: int, actions: int, hidden: Sequence[int]) -> None:
        self.shapes = shapes(observations, actions, hidden)
        self.widths = (observations, *hidden, actions)
        self._layers = len(hidden) + 1

    def initial(self, generator: torch.Generator, std: float) -> Parameters:
        """Draw weights. std: of the actions, as a fraction of half their range."""
        parameters = [torch.zeros(shape) for shape in self.shapes.values()]
        for weight in parameters[:-1:2]:
            nn.init.xavier_uniform_(weight, generator=generator)
        parameters[-3].mul_(FIRST_MEANS)
        parameters[-1].fill_(math.log(std))
        return parameters

    def __call__(self, parameters: Sequence[Tensor], observations: Tensor) -> Gaussian:
        """Distributions of the actions at observations (B, N, n)."""
        x = observations
        for i in range(self._layers):
            weight, bias = parameters[2 * i], parameters[2 * i + 1]
            x = torch.baddbmm(bias.unsqueeze(-2), x if i == 0 else torch.relu(x), weight.transpose(-1, -2))
        return Gaussian(x, parameters[-1].unsqueeze(-2))

    def mean(self, parameters: Sequence[Array], observations: Array) -> Array:
        """Mean actions (B, N, m) in numpy, for collecting episodes."""
        x = observations
        for i in range(self._layers):
            weight, bias = parameters[2 * i], parameters[2 * i + 1]
            x = (x if i == 0 else np.maximum(x, 0.0)) @ weight.swapaxes(-1, -2) + bias[:, None]
        return x


def for_tasks(parameters: Sequence[Tensor], tasks: int) -> Parameters:
    """The same parameters for each of so many tasks."""
    return [parameter.expand(tasks, *parameter.shape) for parameter in parameters]
