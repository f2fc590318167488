# SPDX-License-Identifier: Apache-2.0
"""The ground under a cornering car turns to ice: lost lateral force is lost friction, not softer tyres."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from metarl_robot.control.factory import make_controller
from metarl_robot.core.robot import load_robot
from metarl_robot.robots.ground.context_names import FRICTION, STIFFNESS
from metarl_robot.robots.ground.description import Ground
from metarl_robot.robots.ground.heading import forward_speed
from metarl_robot.sim.ground.plant import GroundPlant
from metarl_robot.sim.ground.task import GroundTask

CAR = load_robot("f1tenth")
assert isinstance(CAR, Ground)
DRY = GroundTask(
    friction=0.9,
    stiffness_scale=0.8,
    position_noise_m=0.002,
    yaw_noise_rad=0.001,
    velocity_noise_m_s=0.01,
    yaw_rate_noise_rad_s=0.007,
)
ICE = replace(DRY, friction=0.25)
ICE_AT, DT = 200, 0.01


@pytest.mark.parametrize(("speed", "steering", "seed"), [(2.5, 0.25, 0), (3.0, 0.2, 1)])
def test_on_ice_the_estimated_friction_falls_and_the_stiffness_stays(speed: float, steering: float, seed: int) -> None:
    """A change leaves the stiffness as uncertain as in training. With its wide prior, 0.1 s after the change it is
    -1.1 (true: -0.22) and the friction 0.5.
    """
    learner, plant = make_controller(CAR, "meta_mpc"), GroundPlant(CAR, DRY, seed)
    state, effort, found = plant.reset(v=np.array([speed, 0.0, 0.0])), np.zeros(2), []
    learner.reset()
    for k in range(ICE_AT + 41):
        if k == ICE_AT:
            plant.set_task(ICE)
        context = learner.learn(k * DT, state, effort)
        if k > ICE_AT:
            found.append((CAR.friction * np.exp(context[FRICTION][0]), context[STIFFNESS][0]))
        drive = np.clip(1.5 * (speed - forward_speed(state)), -0.5, 0.6)
        effort = np.array([steering * (1.0 + 0.1 * np.sin(0.1 * k)), drive])
        state = plant.step(effort, DT)
    friction, stiffness = np.array(found).T
    assert stiffness.min() > -0.8 and friction[20] < 0.45 and friction[-1] < 0.4
