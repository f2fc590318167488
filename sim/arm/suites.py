# SPDX-License-Identifier: Apache-2.0
"""Suites: named sets of closed-loop runs with fixed seeds.

    nominal          the nominal robot, undisturbed, with latency, encoder steps and velocity noise only
    train, heldout   pickup, drop, friction_step: the same ranges; the draws never overlap
    extrapolation    heavy (payload beyond the rated mass), friction (up to twice the trained range),
                     swing (a swinging payload)
    mismatch         pickup, drop: masses, centres, inertias and armatures of the links wrong by up to 30 %, torque
                     constants by 10 %; ripple: torque ripple beside
    friction         coulomb, stribeck: as large as on real arms, with a pick-up; stribeck depends on velocity and load;
                     rise: from the trained range to that size
    sensors          noise: of positions (to 0.3 mrad), velocities, stamps and torques; lag: late velocities, lost
                     measurements; differences: velocities are filtered differences of positions; each with a pick-up
    long             a payload is carried for 36 s; tracking: moving; rest: at rest after 11 s

Real friction is that identified on a UR10e, 21, 19, 8.2, 2.9, 3.4, 2.8 Nm: 5.0 to 6.4 % of the effort limits. Other
times and references: sim/euclidean_suites.py. Seeds below 1000 are for evaluation only: never tune on them.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np

from metarl_robot.core.robot import Robot
from metarl_robot.sim.arm.task import (
    EXTRAPOLATION,
    TRAIN,
    Task,
    TaskRanges,
    draw_payload,
    draw_swinging,
    draw_task,
    nominal_task,
    with_friction,
    with_sensors,
)
from metarl_robot.sim.euclidean_suites import Draw, Timing
from metarl_robot.sim.payload.body import Payload
from metarl_robot.sim.suite_table import SuiteTable

# A substantial payload: from a sixth of the rated mass.
_CARRIED = replace(TRAIN, payload_probability=1.0, payload_ratio=(1.0 / 6.0, 1.0))
_LINKS = replace(_CARRIED, motor_strength=(0.9, 1.1), link_error=0.3)
_RIPPLE = replace(_LINKS, ripple_ratio=(0.005, 0.02))
_COULOMB = replace(_CARRIED, coulomb_ratio=(0.02, 0.065))
_STRIBECK = replace(_COULOMB, stribeck=(0.1, 0.5), load_share=(0.0, 0.1))
_NOISE = replace(
    _CARRIED,
    velocity_noise_rad_s=(0.003, 0.03),
    position_noise_rad=(0.0001, 0.0003),
    jitter_s=(0.0002, 0.0005),
    effort_noise_ratio=(0.001, 0.0035),  # to 0.3 Nm on a Panda
)
_LAG = replace(_CARRIED, velocity_lag_s=(0.002, 0.010), lost=(0.005, 0.03))
_DIFFERENCES = replace(
    _CARRIED,
    velocity_noise_rad_s=(0.0, 0.0),
    position_noise_rad=(0.0, 0.00005),
    velocity_lag_s=(0.002, 0.010),
    differences=True,
)


def _undisturbed(robot: Robot, rng: np.random.Generator) -> tuple[Task, Task]:
    task = with_sensors(nominal_task(robot), rng)
    return task, task


def _pickup(robot: Robot, rng: np.random.Generator, ranges: TaskRanges = _CARRIED) -> tuple[Task, Task]:
    loaded = draw_task(robot, rng, ranges)
    return replace(loaded, payload=Payload()), loaded


def _drop(robot: Robot, rng: np.random.Generator, ranges: TaskRanges = _CARRIED) -> tuple[Task, Task]:
    empty, loaded = _pickup(robot, rng, ranges)
    return loaded, empty


def _rise(robot: Robot, rng: np.random.Generator) -> tuple[Task, Task]:
    before = draw_task(robot, rng, _CARRIED)
    drawn = draw_task(robot, rng, _STRIBECK)
    return before, replace(before, coulomb_nm=drawn.coulomb_nm, friction_law=drawn.friction_law)


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
        "mismatch": {
            "pickup": partial(_pickup, ranges=_LINKS),
            "drop": partial(_drop, ranges=_LINKS),
            "ripple": partial(_pickup, ranges=_RIPPLE),
        },
        "friction": {
            "coulomb": partial(_pickup, ranges=_COULOMB),
            "stribeck": partial(_pickup, ranges=_STRIBECK),
            "rise": _rise,
        },
        "sensors": {
            "noise": partial(_pickup, ranges=_NOISE),
            "lag": partial(_pickup, ranges=_LAG),
            "differences": partial(_pickup, ranges=_DIFFERENCES),
        },
        "long": {"tracking": _pickup, "rest": _pickup},
    }
)

_LONG = Timing(change_s=2.0, moving_s=38.0, duration_s=38.0, estimates_after_s=(1.0, 4.0, 10.0, 35.0))
TIMINGS = {("long", "tracking"): _LONG, ("long", "rest"): replace(_LONG, moving_s=9.0)}
