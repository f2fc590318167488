# SPDX-License-Identifier: Apache-2.0
"""A simulated run as an adapter sees it: measured states and commands, with the true quantities beside them.

A plain feedback controller follows the reference of a scenario. Any adapter may then learn from the same record.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarl_robot.control.base import Controller
from metarl_robot.core.robot import Robot
from metarl_robot.core.signals import Setpoints, State
from metarl_robot.sim.kinds import simulation
from metarl_robot.sim.scenario import Scenario

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Driven:
    """A motion that has taken place, as a reference. times: (K,) s; q: (K, nq), v: (K, dof) true."""

    times: Array
    q: Array
    v: Array

    def sample(self, times: Array) -> Setpoints:
        a = np.gradient(self.v, self.times, axis=0)
        return Setpoints(*(self._at(times, each) for each in (self.q, self.v, a)))

    def _at(self, times: Array, values: Array) -> Array:
        return np.column_stack([np.interp(times, self.times, column) for column in values.T])


@dataclass(frozen=True)
class RecordedMotion:
    """K samples of a run.

    stamps: (K,) of the states. effort: (K, nu) command before each state; the first is not known. truth: (K, k) of the
    robot's quantities. driven: the true motion. crashed: whether the run ended early.
    """

    scenario: Scenario[Any]
    stamps: Array
    states: tuple[State, ...]
    effort: Array
    truth: Array
    driven: Driven
    crashed: bool


def record(robot: Robot, controller: Controller, scenario: Scenario[Any]) -> RecordedMotion:
    """Run a scenario to its end, or to a crash."""
    plant = simulation(robot).plant(scenario.initial, scenario.noise_seed)
    begin = scenario.start or _at(scenario, 0.0)
    state, period_s, changes = plant.reset(begin.q, begin.v), robot.control_period_s, list(scenario.changes)
    controller.reset()
    stamps, states, efforts, truth, true = [], [], [np.full(robot.nu, np.nan)], [], []
    for k in range(round(scenario.duration_s / period_s)):
        if changes and k * period_s >= changes[0][0] - 1e-9:
            plant.set_task(changes.pop(0)[1])
        if plant.crashed:
            break
        stamps.append(plant.stamp)
        states.append(state)
        truth.append(plant.quantities)
        true.append((plant.time, plant.truth))
        efforts.append(controller.step(plant.stamp, state, scenario.reference).effort)
        state = plant.step(efforts[-1], period_s)
    driven = Driven(*(np.array(each) for each in zip(*((t, s.q, s.v) for t, s in true), strict=True)))
    commands = np.array(efforts[: len(states)])
    return RecordedMotion(scenario, np.array(stamps), tuple(states), commands, np.array(truth), driven, plant.crashed)


def _at(scenario: Scenario[Any], time_s: float) -> State:
    points = scenario.reference.sample(np.array([time_s]))
    return State(points.q[0], points.v[0])
