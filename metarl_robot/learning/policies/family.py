# SPDX-License-Identifier: Apache-2.0
"""A family: a distribution of tasks over a Gymnasium environment. Policies are trained on families.

A package adds one in its pyproject.toml; the entry point names an instance:

    [project.entry-points."metarl_robot.task_families"]
    my-family = "my_package.family:FAMILY"
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from metarl_robot.core.errors import MetaRLError
from metarl_robot.core.registry import Registry

if TYPE_CHECKING:
    from gymnasium import Env, Space
    from gymnasium.vector import VectorEnv


class Family(ABC):
    """A distribution of tasks.

    name: as registered. horizon: the most steps of an episode.
    """

    kinds: ClassVar[None] = None
    """Families serve no kind of robot in particular."""
    name: str
    horizon: int

    @abstractmethod
    def sample_task(self, rng: np.random.Generator) -> Any:
        """Draw a task. The same state of `rng` gives the same task."""

    @abstractmethod
    def env(self, task: Any) -> Env[Any, Any]:
        """The environment of a task. Observations and actions are flat boxes."""

    def vector_env(self, tasks: Sequence[Any]) -> VectorEnv[Any, Any, Any]:
        """One environment for each task, stepped together; a family overrides it where it computes them at once."""
        from gymnasium.vector import SyncVectorEnv

        return SyncVectorEnv([lambda task=task: self.env(task) for task in tasks])  # type: ignore[misc]


FAMILIES = Registry(
    noun="task family",
    group="metarl_robot.task_families",
    spec=Family,  # type: ignore[type-abstract]
    own=lambda kind: {
        "point-navigation": "metarl_robot.sim.families.point_navigation:FAMILY",
        "half-cheetah-direction": "metarl_robot.sim.families.half_cheetah_direction:FAMILY",
    },
)


def load_family(name: str) -> Family:
    """The family of that name.

    Raises:
        UnknownNameError: the message lists the registered families.
    """
    return FAMILIES.get("", name)


class Sizes(NamedTuple):
    """Numbers of observations and actions of a family."""

    observations: int
    actions: int


def sizes_of(family: Family) -> Sizes:
    """Sizes of the family's spaces.

    Raises:
        MetaRLError: a space is not a flat box.
    """
    env = family.env(family.sample_task(np.random.default_rng(0)))
    try:
        return Sizes(_size(family, "observation", env.observation_space), _size(family, "action", env.action_space))
    finally:
        env.close()


def _size(family: Family, which: str, space: Space[Any]) -> int:
    from gymnasium.spaces import Box

    if not isinstance(space, Box) or len(space.shape) != 1:
        raise MetaRLError(f"task family '{family.name}': its {which} space is {space}; allowed: a Box of one dimension")
    return int(space.shape[0])
