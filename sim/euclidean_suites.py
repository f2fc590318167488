# SPDX-License-Identifier: Apache-2.0
"""Runs of a suite, for robots with a vector as position.

Every run lasts 10 s and changes at 5 s. References are random motions (trajectories/euclidean.py). They are redrawn,
calmer each time, until no motor needs more than 85 % of its limit before or after the change.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from metarl_robot.core.errors import MetaRLError
from metarl_robot.core.robot import Robot
from metarl_robot.core.signals import Reference
from metarl_robot.sim.scenario import Scenario, Task
from metarl_robot.sim.suite_table import SuiteTable
from metarl_robot.trajectories.euclidean import TRACKING, check_reference, random_tracking

CHANGE_S = 5.0
DURATION_S = 10.0
_AFTER_END_S = 1.0  # a reference extends beyond the episode for the controllers' horizon
_MAX_EFFORT_USE = 0.85
_ATTEMPTS = 30
_CALMER = 0.93

T = TypeVar("T", bound=Task)
Draw = Callable[[Any, np.random.Generator], tuple[T, T]]
"""(robot, random numbers) → tasks before and after the change; the same object twice: nothing changes."""
EffortUse = Callable[[T, Reference, float, float], float]
"""See metarl_robot.sim.kinds.Simulation.effort_use."""


def scenario(
    robot: Robot, table: SuiteTable[Draw[T]], effort_use: EffortUse[T], suite: str, kind: str, seed: int
) -> Scenario[T]:
    """One run of a suite. Raises UnknownNameError."""
    draw, rng = table.pick(suite, kind, seed)
    before, after = draw(robot, rng)
    reference = _feasible_reference(robot, rng, effort_use, before, after)
    changes = () if after is before else ((CHANGE_S, after),)
    return Scenario(kind, before, changes, reference, DURATION_S, seed, noise_seed=int(rng.integers(2**31)))


def _feasible_reference(
    robot: Robot, rng: np.random.Generator, effort_use: EffortUse[T], before: T, after: T
) -> Reference:
    motion = TRACKING
    for _ in range(_ATTEMPTS):
        reference = random_tracking(robot, rng, DURATION_S + 2 * _AFTER_END_S, motion)
        check_reference(robot, reference, 0.0, DURATION_S + _AFTER_END_S)
        use = max(
            effort_use(before, reference, 0.0, CHANGE_S),
            effort_use(after, reference, CHANGE_S, DURATION_S),
        )
        if use <= _MAX_EFFORT_USE:
            return reference
        motion = motion.calmer(_CALMER)
    raise MetaRLError(
        f"no motion of '{robot.name}' within {_MAX_EFFORT_USE:.0%} of its motors' limits in {_ATTEMPTS} draws"
    )
