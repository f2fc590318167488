# SPDX-License-Identifier: Apache-2.0
"""Demo of a quadrotor: a payload is hooked on during a figure eight; later, wind rises.

The payload is two thirds of the drawn mass: the full mass leaves too little thrust for a fast flight. Speed and wind
are reduced until the thrust suffices.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from metarl_robot.core.signals import Reference
from metarl_robot.sim.demo import SUITE, Change, Demo, Simulated, with_sensors
from metarl_robot.sim.payload.body import Payload
from metarl_robot.sim.payload.demo import PayloadDemoSettings, carried, check_use
from metarl_robot.sim.quadrotor.ranges import reference_wind
from metarl_robot.sim.quadrotor.tasks import QuadrotorTask, Wind
from metarl_robot.trajectories.flat_outputs import flat_outputs_of

_MOTION, _MOST_S = "figure_eight", 15.0
_WIND_S, _WIND_DIRECTION, _WIND_SHARE = 10.0, np.array([0.8, 0.6, 0.0]), 0.5
_PAYLOAD_SHARE = 2.0 / 3.0
_LEAST_PACE, _LEAST_WIND_M_S = 0.3, 0.1
# _MOST_USE: highest share of the thrust. _CALMER: factor on speed and wind until that share is met.
_MOST_USE, _CALMER = 0.9, 0.95


def quadrotor_demo(simulated: Simulated, seed: int, settings: PayloadDemoSettings) -> Demo:
    """See metarl_robot.sim.kinds.Simulation.demo."""
    drawn = simulated.scenario(SUITE, "payload", seed)
    before: Any = with_sensors(simulated.nominal_task(), drawn.initial)
    change_s, loaded = drawn.changes[0]
    after = replace(before, payload=settings.payload(_lighter(loaded.payload, _PAYLOAD_SHARE)))
    flat = flat_outputs_of(simulated.robot)
    eight = flat.motion(_MOTION, np.random.default_rng(seed), _MOST_S)
    pace = _pace(simulated, after, lambda pace: flat.paced(eight, pace), change_s)
    flown = flat.paced(eight, pace)
    check_use(after, simulated.effort_use(after, flown, change_s, _MOST_S))
    windy = _in_bearable_wind(simulated, after, flown)
    changes = Change(change_s, after, "a payload is hooked on"), Change(_WIND_S, windy, "wind rises")
    arguments = {"reference": _MOTION, "seed": str(seed)}
    shown = carried(simulated.robot, after.payload)
    return Demo(before, changes, seed, "quad", arguments, (6.5, _MOST_S, _MOST_S), pace, shown)


def _pace(simulated: Simulated, task: Any, paced: Callable[[float], Reference], start_s: float) -> float:
    """The fastest pace at which the loaded quadrotor stays within _MOST_USE until wind rises."""
    pace = 1.0
    while simulated.effort_use(task, paced(pace), start_s, _WIND_S) > _MOST_USE and pace > _LEAST_PACE:
        pace *= _CALMER
    return pace


def _in_bearable_wind(simulated: Simulated, task: QuadrotorTask, reference: Reference) -> QuadrotorTask:
    """The task with a wind in which the flight stays within _MOST_USE."""
    speed = _WIND_SHARE * reference_wind(simulated.robot)
    while (
        simulated.effort_use(windy := _in_wind(task, speed), reference, _WIND_S, _MOST_S) > _MOST_USE
        and speed > _LEAST_WIND_M_S
    ):
        speed *= _CALMER
    return windy


def _in_wind(task: QuadrotorTask, speed_m_s: float) -> QuadrotorTask:
    return replace(task, wind=Wind(speed_m_s * _WIND_DIRECTION))


def _lighter(payload: Payload, share: float) -> Payload:
    return Payload(share * payload.mass_kg, payload.com_m, share * payload.inertia_kg_m2)
