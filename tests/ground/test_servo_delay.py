# SPDX-License-Identifier: Apache-2.0
"""A steering servo that follows later than the drive: the simulated one, and the filter's estimate of its delay."""

from __future__ import annotations

import numpy as np
import pytest

from metarl_robot.control.factory import make_controller
from metarl_robot.core.errors import SignalError
from metarl_robot.core.robot import load_robot
from metarl_robot.robots.ground.description import Ground
from metarl_robot.robots.ground.heading import forward_speed
from metarl_robot.sim.ground.plant import GroundPlant
from metarl_robot.sim.ground.settings import GroundSettings
from metarl_robot.sim.ground.task import GroundTask

CAR = load_robot("f1tenth")
assert isinstance(CAR, Ground)
DT, COMMAND_S, SENSOR_S = 0.01, 0.005, 0.005


def _responses(task: GroundTask) -> list[int]:
    """Physics steps until steering and drive follow a command."""
    plant, found = GroundPlant(CAR, task), [-1, -1]
    for step in range(120):
        plant.step(np.array([0.2, 0.5]), 0.001)
        for channel in (0, 1):
            if found[channel] < 0 and plant.mean_actuators[channel] > 0.0:
                found[channel] = step
    return found


def test_the_servo_follows_later_than_the_drive() -> None:
    assert _responses(GroundTask(command_delay_s=COMMAND_S)) == [5, 5]
    assert _responses(GroundTask(command_delay_s=COMMAND_S, steering_delay_s=0.04)) == [45, 5]


def test_the_delay_is_a_setting_of_every_run_and_absent_from_other_tasks() -> None:
    task = GroundSettings.of({"steering_delay_s": "0.04"}).applied(GroundTask())
    assert task.steering_delay_s == 0.04 and GroundTask.from_dict(task.to_dict()).steering_delay_s == 0.04
    assert GroundSettings().begins_s is None and "steering_delay_s" not in GroundTask().to_dict()
    with pytest.raises(SignalError, match="steering_delay_s must be in"):
        GroundTask(steering_delay_s=0.2)


@pytest.mark.parametrize("delay_s", [0.0, 0.02, 0.04])
def test_the_filter_s_latency_is_about_that_of_the_steering(delay_s: float) -> None:
    """It is one latency for steering and drive; the motion shows mainly that of the steering."""
    task = GroundTask(
        friction=0.9,
        steering_delay_s=delay_s,
        command_delay_s=COMMAND_S,
        sensor_delay_s=SENSOR_S,
        position_noise_m=0.002,
        yaw_noise_rad=0.001,
        velocity_noise_m_s=0.01,
        yaw_rate_noise_rad_s=0.007,
    )
    learner, plant = make_controller(CAR, "meta_mpc"), GroundPlant(CAR, task, 1)
    adapter = learner.inner.adapter
    state, effort = plant.reset(v=np.array([2.0, 0.0, 0.0])), np.zeros(2)
    learner.reset()
    for k in range(300):
        learner.learn(k * DT, state, effort)
        wanted = 2.5 + 0.5 * np.sin(0.03 * k)
        drive = np.clip(1.5 * (wanted - forward_speed(state)), -0.6, 0.8)
        effort = np.array([0.12 * np.sin(0.05 * k) + 0.05 * np.sin(0.17 * k), drive])
        state = plant.step(effort, DT)
    assert adapter.latency_s == pytest.approx(COMMAND_S + SENSOR_S + delay_s, abs=0.012)
