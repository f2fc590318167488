# SPDX-License-Identifier: Apache-2.0
"""An arm whose driver adds gravity, of a load too once it has accepted one; the controller adapts to the whole payload.

The driver's gravity is MuJoCo's, so it is another one than that of the nodes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest

from metarl_robot.control.factory import make_controller
from metarl_robot.core.robot import load_robot
from metarl_robot.core.signals import Setpoints, State
from metarl_robot.robots.payload import MASS
from metarl_robot.ros_nodes.driver_gravity import DriverGravity
from metarl_robot.sim.arm.gravity import NominalGravity
from metarl_robot.sim.arm.plant import ArmPlant
from metarl_robot.sim.arm.task import nominal_task
from metarl_robot.sim.payload.body import compact
from tests.ros2_control.loaded import LoadGravity

ROBOT = load_robot("planar2")
PAYLOAD = compact(0.8, (0.03, 0.0, 0.02))
LOAD = PAYLOAD.inertial_parameters()
SHARED_S, FADE_S, END_S = 2.0, 1.0, 4.5


class Swing:
    """A swing about the home position with a period of 1.5 s, from rest."""

    def sample(self, times: np.ndarray) -> Setpoints:
        rate, size = 2.0 * np.pi / 1.5, np.array([0.4, -0.3])
        s, c = np.sin(rate * times)[:, None], np.cos(rate * times)[:, None]
        return Setpoints(ROBOT.home + size * (1.0 - c), size * rate * s, size * rate**2 * c)


class Run(NamedTuple):
    """Means after the load was faded in: joint error [rad], estimated mass [kg], largest effort sent [Nm]."""

    error: float
    mass_kg: float
    sent: float


def moved(told: bool, taken: bool) -> Run:
    """A swing with a payload. taken: the driver fades it in, from SHARED_S on; told: the node counts that."""
    plant = ArmPlant(ROBOT, replace(nominal_task(ROBOT), payload=PAYLOAD))
    state: State = plant.reset(ROBOT.home)
    controller, gravity, reference = make_controller(ROBOT, "meta_mpc"), DriverGravity(ROBOT, False), Swing()
    own, of_load = NominalGravity(ROBOT), LoadGravity(ROBOT)
    rows = []
    while plant.time < END_S:
        share = float(np.clip((plant.time - SHARED_S) / FADE_S, 0.0, 1.0)) if taken else 0.0
        gravity.carry(share * LOAD * told)
        error = np.abs(state.q - reference.sample(np.array([plant.time])).q[0]).max()
        command = controller.step(plant.time, state, reference)
        sent = gravity.sent(command.effort, state)
        mass_kg = command.context[MASS][0] if command.context.names else 0.0  # the first command has none
        rows.append((plant.time, error, mass_kg, np.abs(sent).max()))
        acting = sent + own.effort(state.q) + of_load.effort(state.q, share * LOAD)
        state = plant.step(acting, ROBOT.control_period_s)
    late = np.array([row for row in rows if row[0] > SHARED_S + FADE_S])
    return Run(*late[:, 1:].mean(axis=0).tolist())


@pytest.fixture(scope="module")
def alone() -> Run:
    return moved(told=False, taken=False)


def test_a_shared_load_changes_neither_motion_nor_estimate_and_lowers_what_is_sent(alone: Run) -> None:
    shared = moved(told=True, taken=True)
    print(alone, shared)
    assert shared.error <= 1.01 * alone.error + 1e-6
    assert abs(alone.mass_kg - PAYLOAD.mass_kg) < 0.05 and abs(shared.mass_kg - alone.mass_kg) < 0.005
    assert shared.sent < 0.75 * alone.sent  # the rest moves the arm


def test_a_load_of_which_the_node_is_not_told_takes_the_estimate_away(alone: Run) -> None:
    """So it must be told: otherwise it estimates only the part of the payload that the driver does not compensate."""
    untold = moved(told=False, taken=True)
    print(alone, untold)
    assert untold.mass_kg < 0.5 * alone.mass_kg
