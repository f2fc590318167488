# SPDX-License-Identifier: Apache-2.0
"""Time that goes wrong: latencies beyond those of training, and commands that come late.

Adaptation must not run away with them.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from metarl_robot.control.base import Controller
from metarl_robot.control.factory import make_controller
from metarl_robot.core.robot import Robot, load_robot
from metarl_robot.sim.arm.plant import ArmPlant
from metarl_robot.sim.kinds import simulation
from metarl_robot.sim.scenario import Scenario

DURATION_S = 3.0
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def panda() -> Robot:
    return load_robot("panda")


def _worst_error(robot: Robot, controller: Controller, run: Scenario, late: float, longest: int) -> float:
    """Largest joint error [rad] after the first second, when a share `late` of the steps takes 1 to `longest` periods
    longer.
    """
    rng, period = np.random.default_rng(0), robot.control_period_s
    plant = ArmPlant(robot, run.initial, run.noise_seed)
    start = run.reference.sample(np.zeros(1))
    state, effort = plant.reset(start.q[0], start.v[0]), plant.applied_effort
    controller.reset()
    errors = []
    while plant.time < DURATION_S:
        new = controller.step(plant.stamp, state, run.reference).effort
        waits = int(rng.integers(1, longest + 1)) if rng.random() < late else 0
        for command in [effort] * waits + [new]:
            state = plant.step(command, period)
            if plant.time > 1.0:
                errors.append(np.abs(plant.truth.q - run.reference.sample(np.array([plant.time])).q[0]).max())
        effort = new
    return float(max(errors))


@pytest.mark.parametrize("name", ["offset_free_mpc", "meta_mpc"])
@pytest.mark.parametrize("latency_s", [0.0, 0.02])
def test_an_unusual_latency_is_coped_with(panda: Robot, name: str, latency_s: float) -> None:
    run = simulation(panda).scenario("nominal", "undisturbed", 0)
    run = replace(run, initial=replace(run.initial, command_delay_s=latency_s, sensor_delay_s=0.0))
    assert _worst_error(panda, make_controller(panda, name), run, 0.0, 0) < 0.01


@pytest.mark.parametrize("name", ["offset_free_mpc", "meta_mpc"])
def test_late_commands_are_coped_with(panda: Robot, name: str) -> None:
    run = simulation(panda).scenario("train", "pickup", 0)
    assert _worst_error(panda, make_controller(panda, name), run, 0.1, 3) < 0.01
