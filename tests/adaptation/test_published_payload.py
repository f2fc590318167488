# SPDX-License-Identifier: Apache-2.0
"""A payload that is published is a body that can exist."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from metarl_robot.control.factory import make_controller
from metarl_robot.core.robot import load_robot
from metarl_robot.core.signals import EMPTY_CONTEXT, Context
from metarl_robot.robots.payload import PAYLOAD_NAMES
from metarl_robot.robots.quadrotor.description import Quadrotor
from metarl_robot.robots.quadrotor.trajectories import FigureEight, Hover
from metarl_robot.robots.rigid_body_parameters import with_existing_payload
from metarl_robot.sim.payload import Payload
from metarl_robot.sim.quadrotor.plant import QuadrotorPlant
from metarl_robot.sim.quadrotor.tasks import QuadrotorTask, Wind


def test_a_context_without_a_payload_stays_as_it_is() -> None:
    assert with_existing_payload(EMPTY_CONTEXT, 0.4, 1e-4) is EMPTY_CONTEXT
    other = Context(("push_x_n", *PAYLOAD_NAMES), np.array([1.0, -0.2, *np.ones(9)]), np.ones(11))
    found = with_existing_payload(other, 0.4, 1e-4)
    assert found.mean[0] == 1.0 and np.abs(found.mean[1:]).max() < 1e-4 and np.array_equal(found.std, other.std)


@pytest.mark.slow
def test_a_quadrotor_that_is_too_light_is_flown_without_offset_and_claims_no_negative_payload() -> None:
    craft = load_robot("x500")
    assert isinstance(craft, Quadrotor)
    plant = QuadrotorPlant(craft, QuadrotorTask(mass_scale=0.8, ground_effect=False, accelerometer_noise_m_s2=0.2), 0)
    controller, goal = make_controller(craft, "meta_mpc"), Hover(np.array([0.0, 0.0, 2.0]))
    state, masses = plant.reset(goal.sample(np.zeros(1)).q[0]), []
    for _ in range(400):
        command = controller.step(plant.stamp, state, goal)
        state = plant.step(command.effort, craft.control_period_s)
        masses += [command.context["payload_mass_kg"][0]] if command.context.names else []
    assert min(masses) >= 0.0 and np.linalg.norm(plant.truth.q[:3] - [0.0, 0.0, 2.0]) < 0.005


@pytest.mark.slow
def test_a_payload_s_mass_does_not_walk_away_while_it_is_carried() -> None:
    """Its split from the rotors' strength is known from the moment of the pick-up alone."""
    craft = load_robot("x500")
    assert isinstance(craft, Quadrotor)
    payload = Payload(0.4, np.array([0.0, 0.0, -0.05]), np.array([1e-3, 1e-3, 1e-3, 0.0, 0.0, 0.0]))
    before = QuadrotorTask(ground_effect=False, velocity_noise_m_s=0.02, gyro_noise_rad_s=0.01, position_noise_m=1e-3)
    before = replace(before, attitude_noise_rad=2e-3, accelerometer_noise_m_s2=0.2)
    after = replace(before, payload=payload)
    plant = QuadrotorPlant(craft, before, 0)
    controller, eight = make_controller(craft, "meta_mpc"), FigureEight(np.array([0.0, 0.0, 2.0]))
    state, period, masses = plant.reset(eight.sample(np.zeros(1)).q[0]), craft.control_period_s, {}
    changes = {1.0: after, 5.0: replace(after, wind=Wind(np.array([4.0, 3.0, 0.0])))}
    for k in range(round(9.0 / period)):
        for time, task in changes.items():
            if k == round(time / period):
                plant.set_task(task)
        command = controller.step(plant.stamp, state, eight)
        state = plant.step(command.effort, period)
        masses[k] = command.context["payload_mass_kg"] if command.context.names else (0.0, 0.0)
    early, late = masses[round(2.0 / period)], masses[round(8.99 / period)]
    assert abs(late[0] - payload.mass_kg) < 0.12 and abs(late[0] - early[0]) < 0.15
