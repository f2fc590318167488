# SPDX-License-Identifier: Apache-2.0
"""Meta-World 3.1.1 (Yu et al. 2019; McLean et al. 2025): robot manipulation with goals that are not observed.

    metaworld:ML1-<environment>   50 goals of an environment for training, 50 others for scores
    metaworld:ML10                10 environments with 50 goals each for training, 5 others with 50 each for scores

Goals are drawn by Meta-World itself from GOALS_SEED. A meta-batch has equally many tasks of each environment, all with
different goals, as Meta-World's. Episodes last 500 steps; one succeeds if any of its steps does, which is the count of
Meta-World's evaluation, where an episode ends at its first success. Rewards are V2.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from metarl_robot.core.atomic import replace_file
from metarl_robot.core.errors import UnknownNameError
from metarl_robot.learning.policies.family import Family
from metarl_robot.sim.families.single import Single
from metarl_robot.sim.metaworld.location import ENVIRONMENTS, REWARD, VERSION, environment, missing
from metarl_robot.sim.metaworld.process import MetaWorldError, Worker
from metarl_robot.sim.metaworld.vector import HORIZON, Goal, MetaWorldTasks

GOALS_SEED = 0
_ML1 = "ML1-"


@dataclass(frozen=True)
class MetaWorldFamily(Family):
    """A benchmark of Meta-World. benchmark: ML10 or ML1-<environment>; empty: none in particular."""

    benchmark: str = ""

    horizon, scored, tells_success = HORIZON, (20, 10), True
    facts = {"metaworld": VERSION, "reward": REWARD, "goals_seed": str(GOALS_SEED)}

    @property
    def name(self) -> str:  # type: ignore[override]
        return f"metaworld:{self.benchmark}"

    def member(self, name: str) -> MetaWorldFamily:
        """The benchmark of that name. Raises UnknownNameError."""
        valid = ("ML10", *(_ML1 + one for one in ENVIRONMENTS))
        if name not in valid:
            raise UnknownNameError("benchmark of metaworld", name, valid)
        return MetaWorldFamily(name)

    def sample_task(self, rng: np.random.Generator) -> Goal:
        """Draw a training task."""
        return self.tasks(rng, 1)[0]

    def tasks(self, rng: np.random.Generator, count: int, held_out: bool = False) -> list[Goal]:
        """Draw tasks: the environments in turn, and for each its goals in random order."""
        goals = _goals(self.benchmark)["test" if held_out else "train"]
        names = list(dict.fromkeys(goal.environment for goal in goals))
        series = {name: _shuffled([goal for goal in goals if goal.environment == name], rng) for name in names}
        first = 0 if count >= len(names) else int(rng.integers(len(names)))
        return [next(series[names[(first + i) % len(names)]]) for i in range(count)]

    def env(self, task: Goal) -> Single:
        """The environment of a task."""
        return Single(self.vector_env([task]))

    def vector_env(self, tasks: Sequence[Goal]) -> MetaWorldTasks:
        """Environments of tasks."""
        return MetaWorldTasks(tasks)


def _shuffled(goals: list[Goal], rng: np.random.Generator) -> Iterator[Goal]:
    """All goals in random order, again and again."""
    while True:
        for i in rng.permutation(len(goals)):
            yield goals[i]


@cache
def _goals(benchmark: str) -> dict[str, list[Goal]]:
    """Training and test tasks; drawn by Meta-World once and kept beside it."""
    if missing():
        raise MetaWorldError(missing())
    path = environment() / f"goals-{benchmark}-{GOALS_SEED}.json"
    if not path.is_file():
        worker = Worker()
        try:
            drawn = worker.ask(b"T", [benchmark.removeprefix(_ML1), GOALS_SEED])
        finally:
            worker.close()
        replace_file(path, json.dumps(drawn).encode())
    splits = json.loads(path.read_bytes())
    return {split: [Goal(name, tuple(numbers)) for name, numbers in goals] for split, goals in splits.items()}


FAMILY = MetaWorldFamily()
