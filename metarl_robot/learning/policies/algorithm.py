# SPDX-License-Identifier: Apache-2.0
"""Protocol and list of the algorithms that train policies."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from metarl_robot.core.errors import UnknownNameError
from metarl_robot.core.robot import named
from metarl_robot.learning.policies.gaussian import Parameters
from metarl_robot.learning.policies.sampling import Sampler

Metrics = dict[str, float]

ALGORITHMS = {
    "maml_pg": "metarl_robot.learning.policies.maml_pg:MamlPg",
    "pg": "metarl_robot.learning.policies.pg:Pg",
}


class Algorithm(Protocol):
    """Trains a policy's parameters.

    tunes_rate: the step size of the adaptation is not part of the training; the best of a grid is taken at the end.
    """

    tunes_rate: bool
    parameters: Parameters

    def step(self, rng: np.random.Generator) -> Metrics:
        """One iteration; all its randomness is from `rng`. Metrics hold return_before.

        Raises:
            NotFiniteError: a return or gradient is not finite; the parameters are unchanged.
        """
        ...

    def state(self) -> dict[str, Tensor]:
        """All that an iteration changes."""
        ...

    def restore(self, state: dict[str, Tensor]) -> None:
        """Continue from a state."""
        ...


def make_algorithm(sampler: Sampler) -> Algorithm:
    """The algorithm that the configuration names. Raises UnknownNameError."""
    check_algorithm(sampler.config.algo)
    make: Any = named(ALGORITHMS[sampler.config.algo])
    made: Algorithm = make(sampler)
    return made


def check_algorithm(name: str) -> None:
    """Raise UnknownNameError if there is no such algorithm."""
    if name not in ALGORITHMS:
        raise UnknownNameError("algorithm", name, ALGORITHMS)


def first_parameters(sampler: Sampler) -> Parameters:
    """Initial parameters of a run."""
    generator = torch.Generator().manual_seed(sampler.config.seed)
    return sampler.policy.initial(generator, sampler.config.first_std)
