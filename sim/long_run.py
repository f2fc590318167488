# SPDX-License-Identifier: Apache-2.0
"""A long run without a fault: memory stays constant, errors and estimates do not drift.

A robot with an attitude flies a figure eight. Another follows one random motion r during the whole run, to its end and
back again:

    r(s(t)),  s = D / 2 (1 - cos(w t)),  w = 2 / D,   so that 0 <= s <= D and |ds/dt| <= 1
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarl_robot.control.factory import make_controller
from metarl_robot.core.robot import Robot
from metarl_robot.core.signals import Command, Reference, Setpoints
from metarl_robot.sim.kinds import simulation

Array = NDArray[np.float64]
Report = Callable[[str, int, int], None]

_TENTHS = 10
_DURATION_S = 8.0  # D, well within that of a scenario
_EVERY_S = 1.0  # sampling interval of errors, estimates and memory
_FLOWN, _FOLLOWED = ("heldout", "wind_0"), ("nominal", "undisturbed")


@dataclass(frozen=True)
class LongRun:
    """Measures of a long run in its first tenth (start) and its last (end).

    memory: resident [MB]. error: largest of the position [m]. belief: largest magnitude of the controller's context.
    """

    robot: str
    controller: str
    minutes: float
    memory_start_mb: float
    memory_end_mb: float
    error_start_m: float
    error_end_m: float
    belief_start: float
    belief_end: float
    violations: int
    unsafe: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


@dataclass(frozen=True)
class _ThereAndBack:
    """See the module's docstring."""

    reference: Reference

    def sample(self, times: Array) -> Setpoints:
        angle = 2.0 / _DURATION_S * times
        points = self.reference.sample(0.5 * _DURATION_S * (1.0 - np.cos(angle)))
        pace, quicker = np.sin(angle)[:, None], 2.0 / _DURATION_S * np.cos(angle)[:, None]
        return Setpoints(points.q, pace * points.v, pace**2 * points.a + quicker * points.v)


def long_run(robot: Robot, minutes: float, report: Report, controller: str = "") -> LongRun:
    """Run a closed loop for a number of simulated minutes. controller: empty: the kind's adaptive controller."""
    controller = controller or robot.adaptive_controller
    room, period_s = simulation(robot), robot.control_period_s
    scenario = room.scenario(*(_FLOWN if robot.attitude is not None else _FOLLOWED), 0)
    reference: Reference = scenario.reference
    if robot.attitude is None:
        reference = _ThereAndBack(reference)
    used = make_controller(robot, controller)
    plant = room.plant(scenario.initial, scenario.noise_seed)
    start = reference.sample(np.zeros(1))
    state = plant.reset(start.q[0], start.v[0])
    count = round(60.0 * minutes / period_s)
    errors, beliefs, memories = np.zeros(_TENTHS), np.zeros(_TENTHS), np.zeros(_TENTHS)
    for k in range(count):
        tenth = k * _TENTHS // count
        command = used.step(plant.stamp, state, reference)
        state = plant.step(command.effort, period_s)
        if k % round(_EVERY_S / period_s) == 0:
            places = np.stack([plant.truth.q, reference.sample(np.array([plant.time])).q[0]])
            here, there = room.positions(places)
            errors[tenth] = max(errors[tenth], float(np.linalg.norm(here - there)))
            beliefs[tenth] = max(beliefs[tenth], _belief(command))
            memories[tenth] = _memory_mb()
            report(f"{robot.name} long", k, count)
    report(f"{robot.name} long", count, count)
    return LongRun(
        robot=robot.name,
        controller=controller,
        minutes=minutes,
        memory_start_mb=float(memories[0]),
        memory_end_mb=float(memories[-1]),
        error_start_m=float(errors[0]),
        error_end_m=float(errors[-1]),
        belief_start=float(beliefs[0]),
        belief_end=float(beliefs[-1]),
        violations=plant.violations.any,
    )


def _belief(command: Command) -> float:
    return float(np.max(np.abs(command.context.mean), initial=0.0))


def _memory_mb() -> float:
    """Resident memory of this process [MB]."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
