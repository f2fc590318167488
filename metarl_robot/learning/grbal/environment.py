# SPDX-License-Identifier: Apache-2.0
"""Environments of the GrBAL suite: families whose tasks can change during an episode and whose reward is known.

A planner that predicts observations needs the reward as a function of them. Tasks of training and of evaluation are
drawn from disjoint sets.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.errors import MetaRLError, UnknownNameError
from metarl_robot.learning.policies.family import FAMILIES, Family

Array = NDArray[np.float64]

ENVIRONMENTS = ("half-cheetah-cripple", "half-cheetah-slope", "arm-mass", "arm-force", "ant-cripple")


class AdaptationFamily(Family):
    """A family for models that adapt within an episode.

    Actions lie in [-1, 1]. Environments are never reset before the horizon. The vectorised environment has a method
    switch(tasks) that changes the tasks and lets the motions go on.

    step_s: time between two actions [s].
    """

    step_s: float

    @abstractmethod
    def training_task(self, rng: np.random.Generator) -> Any:
        """Draw a task of training."""

    @abstractmethod
    def held_out_task(self, rng: np.random.Generator) -> Any:
        """Draw a task that training never draws."""

    @abstractmethod
    def planned_rewards(self, observations: Array, actions: Array, following: Array) -> Array:
        """Rewards (…) of observations (…, n), actions (…, nu) and the observations after them (…, n)."""

    @abstractmethod
    def vector_env(self, tasks: Sequence[Any]) -> Any:
        """One environment for each task, stepped together, with the method switch."""


def load_environment(name: str) -> AdaptationFamily:
    """The environment of that name: one of ENVIRONMENTS, or a registered family of another package.

    Raises:
        UnknownNameError: no such family.
        MetaRLError: the family's tasks cannot change during an episode.
    """
    if name not in FAMILIES.names(""):
        raise UnknownNameError("environment", name, ENVIRONMENTS)
    family = FAMILIES.get("", name)
    if not isinstance(family, AdaptationFamily):
        raise MetaRLError(
            f"task family '{name}' is for policies: it does not tell its rewards and held-out tasks to a planner; "
            f"allowed: {', '.join(ENVIRONMENTS)}, and families of other packages that are an AdaptationFamily"
        )
    return family
