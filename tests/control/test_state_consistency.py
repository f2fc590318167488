# SPDX-License-Identifier: Apache-2.0
"""Accelerometers and velocities that do not fit the rest of a quadrotor's state are found and named."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from metarl_robot.control.factory import make_controller
from metarl_robot.core import rotation
from metarl_robot.core.robot import load_robot
from metarl_robot.core.signals import Setpoints, State, Status
from metarl_robot.robots.quadrotor.description import GRAVITY_M_S2, Quadrotor
from metarl_robot.robots.quadrotor.state_consistency import Accelerometer, VelocityFrame
from metarl_robot.robots.quadrotor.trajectories import FigureEight, Hover
from metarl_robot.sim.quadrotor.plant import QuadrotorPlant
from metarl_robot.sim.quadrotor.tasks import QuadrotorTask
from tests.noisy_quadrotor import NOISY

ABOVE = np.array([0.0, 0.0, 2.0])


@pytest.fixture(scope="module")
def x500() -> Quadrotor:
    made = load_robot("x500")
    assert isinstance(made, Quadrotor)
    return made


class Turned:
    """A figure eight at a constant heading."""

    def __init__(self, heading_rad: float) -> None:
        self._eight, self._attitude = FigureEight(ABOVE), rotation.from_yaw(np.array(heading_rad))

    def sample(self, times: np.ndarray) -> Setpoints:
        points = self._eight.sample(times)
        level = np.concatenate([points.q[:, :3], np.tile(self._attitude, (len(times), 1))], axis=1)
        still = np.zeros((len(times), 3))
        return Setpoints(level, *(np.concatenate([x[:, :3], still], axis=1) for x in (points.v, points.a)))


def fly(craft: Quadrotor, name: str, spoiled, reference, duration_s: float, task: QuadrotorTask = NOISY) -> tuple:
    """Distances from the reference (K,) [m], and the messages, with states as `spoiled` returns them."""
    plant, controller, errors, messages = QuadrotorPlant(craft, task, 0), make_controller(craft, name), [], []
    state = plant.reset(reference.sample(np.zeros(1)).q[0])
    for _ in range(round(duration_s / craft.control_period_s)):
        command = controller.step(plant.stamp, spoiled(state), reference)
        assert command.status is not Status.FAILED
        state = plant.step(command.effort, craft.control_period_s)
        errors.append(np.linalg.norm(plant.truth.q[:3] - reference.sample(np.array([plant.time])).q[0, :3]))
        messages.append(command.message)
    return np.array(errors), messages


@pytest.mark.parametrize(
    ("factor", "named"), [(0.0, "never filled in"), (1.0 / GRAVITY_M_S2, "in g"), (-1.0, "sign is wrong")]
)
@pytest.mark.parametrize("name", ["indi", "offset_free_mpc"])
def test_an_accelerometer_that_does_not_measure_gravity_at_rest_is_named_and_not_used(
    x500: Quadrotor, name: str, factor: float, named: str
) -> None:
    errors, messages = fly(
        x500, name, lambda state: replace(state, specific_force=factor * state.specific_force), Hover(ABOVE), 0.8
    )
    assert all(message.startswith("accelerometer: ") and named in message for message in messages), "from the first"
    assert errors.max() < 0.03


@pytest.mark.parametrize("name", ["indi", "offset_free_mpc"])
def test_a_constant_bias_of_the_accelerometer_leaves_no_offset(x500: Quadrotor, name: str) -> None:
    task = replace(NOISY, accelerometer_bias_m_s2=np.array([0.5, -0.4, 0.6]))
    errors, messages = fly(x500, name, lambda state: state, Hover(ABOVE), 4.0, task)
    assert not any(messages)
    assert errors[-200:].mean() < 0.006, "it was 16 to 24 mm"


@pytest.mark.parametrize(("heading_rad", "turn"), [(1.57, rotation.rotate), (0.8, rotation.rotate)])
def test_a_twist_in_the_world_frame_is_named_within_a_second_of_motion(x500: Quadrotor, heading_rad, turn) -> None:
    def spoiled(state: State) -> State:
        return replace(state, v=np.concatenate([turn(state.q[3:], state.v[:3]), state.v[3:]]))

    errors, messages = fly(x500, "indi", spoiled, Turned(heading_rad), 4.0)
    moving = int(np.argmax(errors > 0.02))
    assert any("twist in the world frame" in message for message in messages[: moving + 200])
    assert errors[-200:].max() < 0.03, "and flown on with the velocity turned back"


def test_a_correct_state_is_never_doubted(x500: Quadrotor) -> None:
    """In flight with forces from outside, with noise, and with the IMU a little out of step."""
    rng = np.random.default_rng(2)
    frame, accelerometer = VelocityFrame(), Accelerometer()
    times = np.arange(0.0, 6.0, 0.01)
    for t in times:
        w = np.array([2.0, 3.0, 1.0])
        p, v, a = np.sin(w * t), w * np.cos(w * t), -w * w * np.sin(w * (t - 0.01))
        attitude = rotation.multiply(rotation.from_yaw(np.array(0.7 * t)), rotation.exp(0.4 * np.sin(w * t)))
        force = rotation.rotate_back(attitude, a + [0.0, 0.0, GRAVITY_M_S2]) + 0.4 * rng.standard_normal(3)
        noisy_v = np.concatenate([v + 0.05 * rng.standard_normal(3), np.ones(3)])
        state = State(np.concatenate([p + 0.005 * rng.standard_normal(3), attitude]), noisy_v, force)
        frame.update(state, 0.01)
        accelerometer.update(state, force, 0.01)
        assert frame.frame == 0 and not accelerometer.problem
    assert np.linalg.norm(accelerometer.bias) < 0.1


def test_samples_far_apart_or_out_of_order_are_not_compared() -> None:
    frame, accelerometer = VelocityFrame(), Accelerometer()
    for dt in (np.inf, -1.0, 0.0, 5.0, np.inf):
        state = State(np.array([9.0 * dt if np.isfinite(dt) else 0.0, 0, 0, 1, 0, 0, 0]), np.ones(6), np.ones(3))
        frame.update(state, dt)
        accelerometer.update(state, np.ones(3), dt)
    assert frame.frame == 0 and np.all(accelerometer.bias == 0.0)


def test_attributes_are_those_of_the_checked_controller(x500: Quadrotor) -> None:
    outer = make_controller(x500, "nominal_mpc").inner
    assert outer.adapter is outer.checked.adapter
    outer.adapter = None
    assert outer.checked.adapter is None and not hasattr(outer, "absent")
