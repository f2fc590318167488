# SPDX-License-Identifier: Apache-2.0
"""A family: a distribution of tasks over a Gymnasium environment. Policies are trained on families.

A package adds one in its pyproject.toml; the entry point names an instance:

    [project.entry-points."metarl_robot.task_families"]
    my-family = "my_package.family:FAMILY"
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from metarl_robot.core.errors import MetaRLError, UnknownNameError
from metarl_robot.core.registry import Registry
from metarl_robot.core.robot import available_robots, load_robot, named

if TYPE_CHECKING:
    from gymnasium import Env, Space
    from gymnasium.vector import VectorEnv


class Family(ABC):
    """A distribution of tasks.

    name: as registered. horizon: the most steps of an episode. solved: the return from which an episode is a success;
    None: the family has no such level. tells_success: steps have `success` in their info, and an episode is a success
    if one of its steps is. scored: numbers of tasks and of episodes of each, by default. weights: shipped policies by
    algorithm; empty: those in models/policies/<name>. facts: further entries of a policy's record, such as the hash of
    a robot's description.
    """

    kinds: ClassVar[None] = None
    """Families serve no kind of robot in particular."""
    name: str
    horizon: int
    solved: float | None = None
    tells_success: bool = False
    scored: tuple[int, int] = (40, 40)
    weights: Mapping[str, Path] = {}
    facts: Mapping[str, str] = {}

    @property
    def argument(self) -> str:
        """What `metarl train-policy` takes for this family."""
        return self.name

    @abstractmethod
    def sample_task(self, rng: np.random.Generator) -> Any:
        """Draw a task. The same state of `rng` gives the same task."""

    def tasks(self, rng: np.random.Generator, count: int, held_out: bool = False) -> list[Any]:
        """Draw tasks. A family with separate tasks for scores overrides it.

        Arguments:
            held_out: draw tasks for scores, not for training.
        """
        return [self.sample_task(rng) for _ in range(count)]

    def member(self, name: str) -> Family:
        """The family `<registered name>:<name>` of a group of families.

        Raises:
            MetaRLError: this is a single family.
        """
        if not name:
            return self
        raise MetaRLError(f"task family '{self.name}' is a single one; given: '{self.name}:{name}'")

    @abstractmethod
    def env(self, task: Any) -> Env[Any, Any]:
        """The environment of a task. Observations and actions are flat boxes."""

    def vector_env(self, tasks: Sequence[Any]) -> VectorEnv[Any, Any, Any]:
        """One environment for each task, stepped together; a family overrides it where it computes them at once."""
        from metarl_robot.learning.policies.one_by_one import OneByOne

        return OneByOne([self.env(task) for task in tasks])


FAMILIES = Registry(
    noun="task family",
    group="metarl_robot.task_families",
    spec=Family,  # type: ignore[type-abstract]
    own=lambda kind: {
        "point-navigation": "metarl_robot.sim.families.point_navigation:FAMILY",
        "half-cheetah-direction": "metarl_robot.sim.families.half_cheetah_direction:FAMILY",
        "half-cheetah-velocity": "metarl_robot.sim.families.half_cheetah_velocity:FAMILY",
        "half-cheetah-cripple": "metarl_robot.sim.families.half_cheetah_cripple:FAMILY",
        "half-cheetah-slope": "metarl_robot.sim.families.half_cheetah_slope:FAMILY",
        "ant-cripple": "metarl_robot.sim.families.ant_cripple:FAMILY",
        "arm-mass": "metarl_robot.sim.families.arm_load:MASS",
        "arm-force": "metarl_robot.sim.families.arm_load:FORCE",
        "lunar-lander": "metarl_robot.sim.families.lunar_lander:FAMILY",
        "highway-racetrack": "metarl_robot.sim.families.highway:FAMILY",
        "metaworld": "metarl_robot.sim.families.metaworld:FAMILY",
    },
)


def load_family(name: str) -> Family:
    """The family of that name: a registered one, one of a group, or `<robot>-<family>` with a robot's name or folder.

    Raises:
        UnknownNameError: the message lists the registered families and those of the robots in models/.
    """
    group, _, member = name.partition(":")
    if group in FAMILIES.names(""):
        return FAMILIES.get("", group).member(member)
    stem, _, ending = name.rpartition("-")
    try:
        robot = load_robot(stem)
        place = robot.families[ending]
    except (UnknownNameError, KeyError):
        raise UnknownNameError("task family", name, family_names()) from None
    found: Family = named(place)(robot)
    return found


def family_names() -> tuple[str, ...]:
    """The registered families, then those of the robots in models/."""
    robots = [load_robot(name, check_model=False) for name in available_robots()]
    return (*FAMILIES.names(""), *(f"{robot.name}-{ending}" for robot in robots for ending in robot.families))


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
