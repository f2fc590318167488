# SPDX-License-Identifier: Apache-2.0
"""Demo of an arm: it picks up a payload."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from metarl_robot.sim.demo import SUITE, Change, Demo, Simulated, with_sensors
from metarl_robot.sim.payload.demo import PayloadDemoSettings, carried, check_use

_SCENARIO = "pickup"
_DURATION_S = (6.5, 10.0, 11.0)


def arm_demo(simulated: Simulated, seed: int, settings: PayloadDemoSettings) -> Demo:
    """See metarl_robot.sim.kinds.Simulation.demo."""
    drawn = simulated.scenario(SUITE, _SCENARIO, seed)
    before: Any = with_sensors(simulated.nominal_task(), drawn.initial)
    change_s, loaded = drawn.changes[0]
    after = replace(before, payload=settings.payload(loaded.payload))
    check_use(after, simulated.effort_use(after, drawn.reference, change_s, drawn.duration_s))
    arguments = {"reference": "suite", "suite": SUITE, "scenario": _SCENARIO, "seed": str(seed)}
    changes = (Change(change_s, after, "the arm picks something up"),)
    shown = carried(simulated.robot, after.payload)
    return Demo(before, changes, seed, "arm", arguments, _DURATION_S, carried=shown)
