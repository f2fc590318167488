# SPDX-License-Identifier: Apache-2.0
"""Recurrent policy with a value, for training; control/policy_network.py computes the same mean actions in numpy."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from metarl_robot.control.policy_layout import recurrent_inputs, recurrent_shapes
from metarl_robot.learning.policies.gaussian import FIRST_MEANS, Gaussian


class RecurrentPolicy(nn.Module):
    """Parameters by the names and in the order of `shapes`.

    Arguments:
        observations, actions: sizes.
        hidden: widths of the layers; the last is that of the recurrent unit.
    """

    def __init__(self, observations: int, actions: int, hidden: Sequence[int]) -> None:
        super().__init__()
        self.shapes = recurrent_shapes(observations, actions, hidden)
        *widths, size = (recurrent_inputs(observations, actions), *hidden)
        self.encoder = nn.ModuleList(nn.Linear(*pair) for pair in zip(widths[:-1], widths[1:], strict=True))
        self.gru = nn.GRU(widths[-1], size, batch_first=True)
        self.action, self.value = nn.Linear(size, actions), nn.Linear(size, 1)
        self.log_std = nn.Parameter(torch.zeros(actions))

    def draw(self, generator: torch.Generator, std: float) -> None:
        """Draw initial weights. std: of the actions, as a fraction of half their range."""
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                if name.endswith("bias") or ".bias_" in name:
                    parameter.zero_()
                elif name == "log_std":
                    parameter.fill_(math.log(std))
                elif name == "gru.weight_hh_l0":
                    for gate in parameter.chunk(3):
                        nn.init.orthogonal_(gate, generator=generator)
                else:
                    nn.init.xavier_uniform_(parameter, generator=generator)
            self.action.weight.mul_(FIRST_MEANS)

    def forward(self, inputs: Tensor) -> tuple[Gaussian, Tensor]:
        """Distributions of the actions, and values (N, T) in units of their scale, at inputs (N, T, k)."""
        x, _ = self.features(inputs)
        return Gaussian(self.action(x), self.log_std), self.value(x).squeeze(-1)

    def features(self, inputs: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(outputs (N, T, h) of the recurrent unit, its state (1, N, h) after them). state: before; None: zero."""
        x = inputs
        for layer in self.encoder:
            x = torch.relu(layer(x))
        found: tuple[Tensor, Tensor] = self.gru(x, state)
        return found

    def ordered(self) -> list[Tensor]:
        """The parameters in the order of `shapes`."""
        found = dict(self.named_parameters())
        return [found[name] for name in self.shapes]
