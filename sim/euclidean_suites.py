# SPDX-License-Identifier: Apache-2.0
"""Runs of a suite, for robots with a vector as position.

A run lasts 10 s and changes at 5 s, unless its suite has another timing. References are random motions
(trajectories/euclidean.py). They are redrawn, calmer each time, until no motor needs more than 85 % of its limit before
or after the change.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Timing:
    """Times of a suite's runs [s]: of the change, of the end of the motion, and of the end of the run.

    estimates_after_s: see Scenario.
    """

    change_s: float = CHANGE_S
    moving_s: float = DURATION_S
    duration_s: float = DURATION_S
    estimates_after_s: tuple[float, ...] = (1.0, 4.0)


_USUAL = Timing()

T = TypeVar("T", bound=Task)
Draw = Callable[[Any, np.random.Generator], tuple[T, T]]
"""(robot, random numbers) → tasks before and after the change; the same object twice: nothing changes."""
EffortUse = Callable[[T, Reference, float, float], float]
"""See metarl_robot.sim.kinds.Simulation.effort_use."""


def scenario(
    robot: Robot,
    table: SuiteTable[Draw[T]],
    effort_use: EffortUse[T],
    suite: str,
    kind: str,
    seed: int,
    timing: Timing = _USUAL,
) -> Scenario[T]:
    """One run of a suite. Raises UnknownNameError."""
    draw, rng = table.pick(suite, kind, seed)
    before, after = draw(robot, rng)
    reference = _feasible_reference(robot, rng, effort_use, before, after, timing)
    changes = () if after is before else ((timing.change_s, after),)
    noise_seed, at_s = int(rng.integers(2**31)), timing.estimates_after_s
    return Scenario(
        kind, before, changes, reference, timing.duration_s, seed, noise_seed=noise_seed, estimates_after_s=at_s
    )


def _feasible_reference(
    robot: Robot, rng: np.random.Generator, effort_use: EffortUse[T], before: T, after: T, timing: Timing
) -> Reference:
    motion = TRACKING
    for _ in range(_ATTEMPTS):
        reference = random_tracking(robot, rng, timing.moving_s + 2 * _AFTER_END_S, motion)
        check_reference(robot, reference, 0.0, timing.duration_s + _AFTER_END_S)
        use = max(
            effort_use(before, reference, 0.0, timing.change_s),
            effort_use(after, reference, timing.change_s, timing.duration_s),
        )
        if use <= _MAX_EFFORT_USE:
            return reference
        motion = motion.calmer(_CALMER)
    raise MetaRLError(
        f"no motion of '{robot.name}' within {_MAX_EFFORT_USE:.0%} of its motors' limits in {_ATTEMPTS} draws: "
        "they are too weak for its weight and rated payload; correct the effort limits or the payload in robot.yaml"
    )
