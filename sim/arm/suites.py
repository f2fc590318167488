# SPDX-License-Identifier: Apache-2.0
"""Suites: named sets of closed-loop runs with fixed seeds.

    nominal          the nominal robot, undisturbed, with latency, encoder steps and velocity noise only
    train, heldout   pickup, drop, friction_step: the same ranges; the draws never overlap
    extrapolation    heavy (payload beyond the rated mass), friction (up to twice the trained range),
                     swing (a swinging payload)

Times and references: sim/euclidean_suites.py.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from metarl_robot.core.robot import Robot
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
from metarl_robot.sim.euclidean_suites import Draw
from metarl_robot.sim.payload.body import Payload
from metarl_robot.sim.suite_table import SuiteTable

# A substantial payload: from a sixth of the rated mass.
_CARRIED = replace(TRAIN, payload_probability=1.0, payload_ratio=(1.0 / 6.0, 1.0))


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


SUITES: SuiteTable[Draw[Task]] = SuiteTable(
    {
        "train": {"pickup": _pickup, "drop": _drop, "friction_step": _friction_step},
        "heldout": {"pickup": _pickup, "drop": _drop, "friction_step": _friction_step},
        "extrapolation": {"heavy": _heavy, "friction": _friction, "swing": _swing},
        "nominal": {"undisturbed": _undisturbed},
    }
)
