# SPDX-License-Identifier: Apache-2.0
"""Suites: named sets of closed-loop runs with fixed seeds.

    nominal          the nominal robot, undisturbed, with latency, encoder steps and velocity noise only
    train, heldout   pickup, drop, friction_step: the same ranges; the draws never overlap
    extrapolation    heavy (payload beyond the rated mass), friction (up to twice the trained range),
                     swing (a swinging payload)

Every run lasts 10 s and changes at 5 s. References are random motions (trajectories/euclidean.py). They are redrawn,
calmer each time, until no motor needs more than 85 % of its limit before or after the change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np

from metarl_robot.core.errors import MetaRLError
from metarl_robot.core.robot import Robot
from metarl_robot.core.signals import Reference
from metarl_robot.sim.arm.feasibility import torque_use
from metarl_robot.sim.arm.task import (
    EXTRAPOLATION,
    TRAIN,
    Task,
    draw_payload,
    draw_swinging,
    draw_task,
    nominal_task,
    with_friction,
    with_sensors,
)
from metarl_robot.sim.payload import Payload
from metarl_robot.sim.scenario import Scenario
from metarl_robot.sim.suite_table import SuiteTable
from metarl_robot.trajectories.euclidean import TRACKING, check_reference, random_tracking

CHANGE_S = 5.0
DURATION_S = 10.0
_AFTER_END_S = 1.0  # a reference extends beyond the episode for the controllers' horizon
_MAX_TORQUE_USE = 0.85
_ATTEMPTS = 30
_CALMER = 0.93

# A substantial payload: from a sixth of the rated mass.
_CARRIED = replace(TRAIN, payload_probability=1.0, payload_ratio=(1.0 / 6.0, 1.0))

Kind = Callable[[Robot, np.random.Generator], tuple[Task, Task]]


def _undisturbed(robot: Robot, rng: np.random.Generator) -> tuple[Task, Task]:
    task = with_sensors(nominal_task(robot), rng)
    return task, task


def _pickup(robot: Robot, rng: np.random.Generator) -> tuple[Task, Task]:
    loaded = draw_task(robot, rng, _CARRIED)
    return replace(loaded, payload=Payload()), loaded


def _drop(robot: Robot, rng: np.random.Generator) -> tuple[Task, Task]:
    empty, loaded = _pickup(robot, rng)
    return loaded, empty


def _friction_step(robot: Robot, rng: np.random.Generator) -> tuple[Task, Task]:
    before = draw_task(robot, rng, _CARRIED)
    return before, with_friction(robot, before, rng)


def _heavy(robot: Robot, rng: np.random.Generator) -> tuple[Task, Task]:
    empty, _ = _pickup(robot, rng)
    return empty, replace(empty, payload=draw_payload(robot, rng, EXTRAPOLATION))


def _friction(robot: Robot, rng: np.random.Generator) -> tuple[Task, Task]:
    before = draw_task(robot, rng, _CARRIED)
    return before, with_friction(robot, before, rng, EXTRAPOLATION)


def _swing(robot: Robot, rng: np.random.Generator) -> tuple[Task, Task]:
    empty, _ = _pickup(robot, rng)
    return empty, replace(empty, payload=draw_swinging(robot, rng, _CARRIED), swing=True)


_SUITES: SuiteTable[Kind] = SuiteTable(
    {
        "train": {"pickup": _pickup, "drop": _drop, "friction_step": _friction_step},
        "heldout": {"pickup": _pickup, "drop": _drop, "friction_step": _friction_step},
        "extrapolation": {"heavy": _heavy, "friction": _friction, "swing": _swing},
        "nominal": {"undisturbed": _undisturbed},
    }
)


def suite_names() -> tuple[str, ...]:
    """Names of all suites."""
    return _SUITES.names()


def scenario_names(suite_name: str) -> tuple[str, ...]:
    """The kinds of run in a suite. Raises UnknownNameError."""
    return _SUITES.kinds(suite_name)


def suite(robot: Robot, name: str, seeds: Iterable[int]) -> tuple[Scenario[Task], ...]:
    """One run of each of the suite's kinds for every seed >= 0.

    Raises:
        UnknownNameError: no such suite.
    """
    return tuple(scenario(robot, name, kind, seed) for seed in seeds for kind in scenario_names(name))


def scenario(robot: Robot, suite_name: str, kind: str, seed: int) -> Scenario[Task]:
    """One run of a suite. Raises UnknownNameError."""
    draw, rng = _SUITES.pick(suite_name, kind, seed)
    before, after = draw(robot, rng)
    reference = _feasible_reference(robot, rng, before, after)
    changes = () if after is before else ((CHANGE_S, after),)
    return Scenario(kind, before, changes, reference, DURATION_S, seed, noise_seed=int(rng.integers(2**31)))


def _feasible_reference(robot: Robot, rng: np.random.Generator, before: Task, after: Task) -> Reference:
    motion = TRACKING
    for _ in range(_ATTEMPTS):
        reference = random_tracking(robot, rng, DURATION_S + 2 * _AFTER_END_S, motion)
        check_reference(robot, reference, 0.0, DURATION_S + _AFTER_END_S)
        use = max(
            torque_use(robot, before, reference, 0.0, CHANGE_S),
            torque_use(robot, after, reference, CHANGE_S, DURATION_S),
        )
        if use <= _MAX_TORQUE_USE:
            return reference
        motion = motion.calmer(_CALMER)
    raise MetaRLError(
        f"no motion of '{robot.name}' within {_MAX_TORQUE_USE:.0%} of its motors' limits in {_ATTEMPTS} draws"
    )
