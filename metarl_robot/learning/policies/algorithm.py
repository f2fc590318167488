# SPDX-License-Identifier: Apache-2.0
"""Protocol and list of the algorithms that train policies."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from metarl_robot.control.policy_layout import RECURRENT
from metarl_robot.core.errors import MetaRLError, UnknownNameError
from metarl_robot.core.robot import named
from metarl_robot.learning.policies.config import PolicyConfig
from metarl_robot.learning.policies.family import Family, sizes_of
from metarl_robot.learning.policies.gaussian import GaussianPolicy, Parameters
from metarl_robot.learning.policies.recurrent import RecurrentPolicy
from metarl_robot.learning.policies.sampling import Sampler
from metarl_robot.parallel.rllib import check_rllib

Metrics = dict[str, float]

RLLIB = "metarl_robot.learning.policies.rllib_ppo:RllibPpo"

ALGORITHMS = {
    "maml_pg": "metarl_robot.learning.policies.maml_pg:MamlPg",
    "pg": "metarl_robot.learning.policies.pg:Pg",
    "promp": "metarl_robot.learning.policies.promp:ProMp",
    "rl2": "metarl_robot.learning.policies.rl2:Rl2",
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


def sampler_of(family: Family, config: PolicyConfig) -> Sampler:
    """The sampler of a policy that the configured algorithm trains.

    Raises:
        MetaRLError: a recurrent policy with several groups of tasks, without RLlib; its trials are collected together.
    """
    if config.algo in RECURRENT and config.groups > 1 and config.engine == "own":
        raise MetaRLError(f"groups is {config.groups}, but {config.algo} collects all trials together: leave it at 1")
    policy = RecurrentPolicy if config.algo in RECURRENT else GaussianPolicy
    return Sampler(family, policy(*sizes_of(family), config.hidden), config)


def make_algorithm(sampler: Sampler) -> Algorithm:
    """The algorithm that the configuration names. Raises as check_algorithm."""
    check_algorithm(sampler.config)
    make: Any = named(RLLIB if sampler.config.engine == "rllib" else ALGORITHMS[sampler.config.algo])
    made: Algorithm = make(sampler)
    return made


def check_algorithm(config: PolicyConfig) -> None:
    """Check that algorithm and engine exist, and fit each other.

    Raises:
        UnknownNameError: no such algorithm.
        MetaRLError: RLlib does not train this algorithm.
        MissingPackageError: RLlib is not installed.
    """
    if config.algo not in ALGORITHMS:
        raise UnknownNameError("algorithm", config.algo, ALGORITHMS)
    if config.engine == "rllib":
        if config.algo not in RECURRENT:
            raise MetaRLError(f"--engine rllib trains rl2; --algo is {config.algo}: leave one of them out")
        check_rllib()


def first_parameters(sampler: Sampler) -> Parameters:
    """Initial parameters of a run, drawn on the CPU: the same on every device."""
    generator = torch.Generator().manual_seed(sampler.config.seed)
    first: Parameters = sampler.policy.initial(generator, sampler.config.first_std)
    return [parameter.to(sampler.device) for parameter in first]
