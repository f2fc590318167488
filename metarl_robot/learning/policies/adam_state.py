# SPDX-License-Identifier: Apache-2.0
"""State of parameters that Adam optimises: their values and moments, by name."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from metarl_robot.learning.policies.algorithm import first_parameters
from metarl_robot.learning.policies.gaussian import Parameters
from metarl_robot.learning.policies.sampling import Sampler

_MOMENTS = ("exp_avg", "exp_avg_sq")


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
            moments = {key: state[f"adam.{key}.{name}"].to(parameter.device, copy=True) for key in _MOMENTS}
            optimiser.state[parameter] = {"step": state[f"adam.step.{name}"].clone(), **moments}


class AdamTrained:
    """Parameters of an algorithm that Adam trains to maximise an objective, and their state."""

    def __init__(self, sampler: Sampler, rate: float) -> None:
        self._sampler, self._config = sampler, sampler.config
        self.parameters: Parameters = [p.requires_grad_() for p in first_parameters(sampler)]
        self._optimiser = torch.optim.Adam(self.parameters, lr=rate, maximize=True)

    def state(self) -> dict[str, Tensor]:
        """All that an iteration changes."""
        return adam_state(self._optimiser, self._named())

    def restore(self, state: dict[str, Tensor]) -> None:
        """Continue from a state."""
        restore_adam(self._optimiser, self._named(), state)

    def _named(self) -> dict[str, Tensor]:
        return dict(zip(self._sampler.policy.shapes, self.parameters, strict=True))
