# SPDX-License-Identifier: Apache-2.0
"""State of parameters that Adam optimises: their values and moments, by name."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

_MOMENTS = ("step", "exp_avg", "exp_avg_sq")


def adam_state(optimiser: torch.optim.Adam, parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A copy of the parameters and their moments."""
    tensors = {}
    for name, parameter in parameters.items():
        tensors[name] = parameter.detach().clone()
        tensors |= {f"adam.{key}.{name}": value.clone() for key, value in optimiser.state[parameter].items()}
    return tensors


def restore_adam(optimiser: torch.optim.Adam, parameters: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> None:
    """Continue from a state of adam_state."""
    for name, parameter in parameters.items():
        parameter.data.copy_(state[name])
        optimiser.state.pop(parameter, None)
        if f"adam.step.{name}" in state:
            optimiser.state[parameter] = {key: state[f"adam.{key}.{name}"].clone() for key in _MOMENTS}
