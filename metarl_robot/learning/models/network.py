# SPDX-License-Identifier: Apache-2.0
"""The multilayer perceptron of adaptation/network.py, in torch: tanh between layers, linear at the end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Array = NDArray[np.float64]


def encode(q: Tensor, v: Tensor, velocity_limit: Tensor) -> Tensor:
    """Network inputs (…, 3n) of states (…, n), as adaptation.network.encode."""
    return torch.cat([torch.sin(q), torch.cos(q), v / velocity_limit], dim=-1)


class Perceptron(nn.Module):
    """Perceptron with layers of the given widths.

    Arguments:
        widths: of inputs, hidden layers and outputs.
        output_scale: (outputs,) constant factors of the outputs, folded into the exported weights.
        generator: draws the initial weights.
    """

    output_scale: Tensor

    def __init__(self, widths: Sequence[int], output_scale: Tensor, generator: torch.Generator) -> None:
        super().__init__()
        self._layers = [nn.Linear(a, b) for a, b in zip(widths[:-1], widths[1:], strict=True)]
        self.layers = nn.ModuleList(self._layers)
        self.register_buffer("output_scale", output_scale)
        for layer in self._layers:
            nn.init.xavier_normal_(layer.weight, generator=generator)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self._layers[:-1]:
            x = torch.tanh(layer(x))
        return cast(Tensor, self._layers[-1](x)) * self.output_scale

    def export(self) -> dict[str, Array]:
        """Tensors network.<i>.weight and network.<i>.bias of a checkpoint."""
        tensors: dict[str, Array] = {}
        for i, layer in enumerate(self._layers):
            scale = self.output_scale if layer is self._layers[-1] else layer.bias.new_ones(())
            tensors[f"network.{i}.weight"] = (layer.weight * scale.reshape(-1, 1)).detach().cpu().double().numpy()
            tensors[f"network.{i}.bias"] = (layer.bias * scale).detach().cpu().double().numpy()
        return tensors
