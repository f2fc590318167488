# SPDX-License-Identifier: Apache-2.0
"""A steering servo that follows later than the drive: the simulated one, and the filter's estimate of its delay."""

from __future__ import annotations

import numpy as np
import pytest

from metarl_robot.control.factory import make_controller
from metarl_robot.core.errors import SignalError
from metarl_robot.core.robot import load_robot
from metarl_robot.robots.ground import courses
from metarl_robot.robots.ground.description import Ground
from metarl_robot.robots.ground.heading import forward_speed
from metarl_robot.robots.ground.path_reference import driven
from metarl_robot.sim.episode import run_episode
from metarl_robot.sim.ground.plant import GroundPlant
from metarl_robot.sim.ground.settings import GroundSettings
from metarl_robot.sim.ground.task import GroundTask
from metarl_robot.sim.scenario import Scenario

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


SENSORS = {
    "command_delay_s": COMMAND_S,
    "sensor_delay_s": SENSOR_S,
    "position_noise_m": 0.002,
    "yaw_noise_rad": 0.001,
    "velocity_noise_m_s": 0.01,
    "yaw_rate_noise_rad_s": 0.007,
}


@pytest.mark.parametrize("delay_s", [0.0, 0.02, 0.04])
def test_the_filter_s_latency_is_about_that_of_the_steering(delay_s: float) -> None:
    """It is one latency for steering and drive; the motion shows mainly that of the steering."""
    task = GroundTask(friction=0.9, steering_delay_s=delay_s, **SENSORS)
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


def test_a_car_whose_servo_is_60_ms_late_keeps_to_its_path() -> None:
    """On this raceway, driven for 8 s, the cross-track error is 11 mm RMS, and 30 mm if the latency is not learned. At
    30 ms it is 11 and 12 mm, without a delay 14 and 13 mm.
    """
    task = GroundTask(friction=0.9, steering_delay_s=0.06, **SENSORS)
    path = courses.raceway(CAR, np.random.default_rng(1000))
    run = Scenario("servo", task, (), driven(CAR, path, 0.8 * task.friction), 6.0, 1000, 1000, 2.0)
    result = run_episode(CAR, lambda _: make_controller(CAR, "meta_mpc"), run).result
    assert result.rmse_m < 0.02 and result.measures["progress_m_s"] > 3.5
