# SPDX-License-Identifier: Apache-2.0
"""One closed-loop run without ROS: measure, call the controller, step the plant; then score the run.

A run ends with a crash; from then on the robot counts as lying where it crashed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarl_robot.control.base import Controller
from metarl_robot.core.robot import Robot
from metarl_robot.core.signals import State
from metarl_robot.sim.episode_scores import EpisodeResult, score
from metarl_robot.sim.kinds import Plant, simulation
from metarl_robot.sim.run_log import Log, Recorder
from metarl_robot.sim.scenario import Scenario, Task

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Episode:
    """A finished run."""

    scenario: Scenario[Any]
    result: EpisodeResult
    log: Log


def run_episode(
    robot: Robot, make_controller: Callable[[Scenario[Any]], Controller], scenario: Scenario[Any], name: str = ""
) -> Episode:
    """Run one scenario to its end, or to a crash.

    Arguments:
        robot: the robot.
        make_controller: scenario -> controller; it is reset before the run. A controller with a method
            `observe_truth(task)` receives the true task at the start and at every change of the plant's; one with a
            method `observe_obstacles(discs)` receives the scenario's obstacles at the start.
        scenario: the scenario to run.
        name: name of the controller in the result.
    """
    controller = make_controller(scenario)
    room = simulation(robot)
    plant = room.plant(scenario.initial, scenario.noise_seed)
    period = robot.control_period_s
    recorder = Recorder(robot, scenario, round(scenario.duration_s / period))
    point = scenario.reference.sample(np.zeros(1))
    released = scenario.start or State(point.q[0], point.v[0])
    state = plant.reset(released.q, released.v)
    controller.reset()
    _tell_obstacles(controller, scenario)
    told: Task | None = None
    changes = list(scenario.changes)
    for k, time in enumerate(recorder.times):
        if changes and time >= changes[0][0] - 1e-9:
            plant.set_task(changes.pop(0)[1])
        if plant.task is not told:
            told = plant.task
            _tell(controller, told)
        recorder.state(k, plant)
        if plant.crashed:
            break
        start = perf_counter()
        command = controller.step(plant.stamp, state, scenario.reference)
        recorder.command(k, command, perf_counter() - start, controller)
        state = plant.step(command.effort, period)
    log = recorder.log(room)
    result = score(name, scenario, log, plant.violations.any, room.settled_m)
    measures = room.measures(plant, scenario, log)
    if scenario.released_s is not None:
        measures = {**measures, **_disturbed(plant, recorder.external, period)}
    return Episode(scenario, replace(result, measures=measures), log)


def _tell(controller: Controller, task: Task) -> None:
    observe = getattr(controller, "observe_truth", None)
    if observe is not None:
        observe(task)


def _tell_obstacles(controller: Controller, scenario: Scenario[Any]) -> None:
    observe = getattr(controller, "observe_obstacles", None)
    if observe is not None:
        observe(scenario.obstacles)


def _disturbed(plant: Plant, external: Array, period_s: float) -> dict[str, float | None]:
    """Measures of a scenario that is released. external: (K,) whether an external wrench was reported, or NaN."""
    reported_s = float(np.sum(external)) * period_s
    return {
        "peak_contact_n": getattr(plant, "peak_contact_n", None),
        "velocity_violations": getattr(plant.violations, "velocity", None),
        "external_wrench_s": reported_s if np.isfinite(reported_s) else None,
    }
