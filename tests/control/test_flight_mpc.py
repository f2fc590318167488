# SPDX-License-Identifier: Apache-2.0
"""The quadrotors' MPC on simulated quadrotors: tracking, learning, limits, bad input."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from metarl_robot.control.base import Controller
from metarl_robot.control.factory import make_controller
from metarl_robot.core.robot import load_robot
from metarl_robot.core.signals import Reference, State, Status
from metarl_robot.robots.quadrotor.description import Quadrotor
from metarl_robot.robots.quadrotor.trajectories import FigureEight, Hover
from metarl_robot.sim.evaluate import run_one
from metarl_robot.sim.kinds import simulation
from metarl_robot.sim.payload import Payload
from metarl_robot.sim.quadrotor.tasks import QuadrotorTask, Wind

NOISY = QuadrotorTask(
    ground_effect=False,
    command_delay_s=0.005,
    position_noise_m=0.001,
    attitude_noise_rad=0.002,
    velocity_noise_m_s=0.02,
    gyro_noise_rad_s=0.01,
    accelerometer_noise_m_s2=0.2,
)
HEIGHT = np.array([0.0, 0.0, 2.0])


@pytest.fixture(scope="module")
def x500() -> Quadrotor:
    robot = load_robot("x500")
    assert isinstance(robot, Quadrotor)
    return robot


def _fly(
    robot: Quadrotor, controller: Controller, task: QuadrotorTask, reference: Reference, duration_s: float
) -> np.ndarray:
    """(K, 3) true position minus reference."""
    plant = simulation(robot).plant(task, 0)
    state, errors = plant.reset(reference.sample(np.zeros(1)).q[0]), []
    controller.reset()
    for k in range(round(duration_s / robot.control_period_s)):
        command = controller.step(plant.stamp, state, reference)
        assert np.all(np.isfinite(command.effort)) and command.status is not Status.FAILED
        assert np.all(command.effort >= robot.effort_lower) and np.all(command.effort <= robot.effort_limit)
        errors.append(plant.truth.q[:3] - reference.sample(np.array([k * robot.control_period_s])).q[0, :3])
        state = plant.step(command.effort, robot.control_period_s)
        assert not plant.crashed
    return np.array(errors)


def _rms_mm(errors: np.ndarray) -> float:
    return float(1e3 * np.sqrt(np.mean(np.sum(errors**2, axis=1))))


def test_nominal_mpc_follows_an_eight_where_the_model_is_right(x500: Quadrotor) -> None:
    task = replace(NOISY, drag_scale=np.zeros(2))
    errors = _fly(x500, make_controller(x500, "nominal_mpc"), task, FigureEight(HEIGHT), 5.0)
    assert _rms_mm(errors[400:]) < 15.0


def test_offset_free_mpc_leaves_no_offset_under_payload_and_wind(x500: Quadrotor) -> None:
    payload = Payload(0.4, np.array([0.01, 0.0, -0.05]), np.array([1e-3, 1e-3, 1e-3, 0.0, 0.0, 0.0]))
    task = replace(NOISY, payload=payload, wind=Wind(np.array([5.0, 0.0, 0.0])))
    hover = Hover(HEIGHT)
    nominal = _fly(x500, make_controller(x500, "nominal_mpc"), task, hover, 4.0)[600:]
    offset_free = _fly(x500, make_controller(x500, "offset_free_mpc"), task, hover, 4.0)[600:]
    assert np.linalg.norm(offset_free.mean(axis=0)) < 0.003 < 0.02 < np.linalg.norm(nominal.mean(axis=0))


@pytest.mark.slow
def test_meta_mpc_learns_a_payload_that_is_hooked_on(x500: Quadrotor) -> None:
    """From one moment to the next: a payload that was there all along cannot be told from a weak battery."""
    result = run_one(x500, "train", "payload", 1, "meta_mpc").result
    assert abs(result.estimates["payload_mass_error_kg"]) < 0.15
    assert result.rmse_after_m < 0.015 and not result.crashed and result.failed_steps == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["nominal_mpc", "offset_free_mpc"])
def test_a_reference_that_jumps_is_followed_within_limits(x500: Quadrotor, name: str) -> None:
    """Plans turn over on the way; one that still does so when the quadrotor has arrived leaves an offset for good."""

    class Jump:
        def sample(self, times: np.ndarray) -> object:
            far = np.asarray(times) > 1.0
            points = Hover(HEIGHT).sample(times)
            return replace(points, q=points.q + np.where(far[:, None], np.eye(7)[0] * 5.0, 0.0))

    errors = _fly(x500, make_controller(x500, name), NOISY, Jump(), 7.0)
    assert _rms_mm(errors[-100:]) < 5.0


def test_the_other_sign_of_a_quaternion_changes_nothing(x500: Quadrotor) -> None:
    commands = []
    for sign in (1.0, -1.0):
        controller, q = (
            make_controller(x500, "nominal_mpc"),
            np.concatenate([HEIGHT, sign * np.array([0.995, 0.0995, 0.0, 0.0])]),
        )
        q[3:] /= np.linalg.norm(q[3:])
        commands.append([controller.step(0.005 * k, State(q, np.zeros(6)), Hover(HEIGHT)).effort for k in range(3)])
    assert np.allclose(commands[0], commands[1], atol=1e-6)


def test_a_state_that_is_not_finite_gives_a_finite_command_and_a_status(x500: Quadrotor) -> None:
    controller, broken = make_controller(x500, "nominal_mpc"), x500.home.copy()
    broken[4] = np.nan
    first = controller.step(0.0, State(broken, np.zeros(6)), Hover(HEIGHT))
    assert first.status is Status.FAILED and np.allclose(first.effort, x500.hover_thrust)
    controller.step(0.005, State(x500.home, np.zeros(6)), Hover(HEIGHT))
    later = controller.step(0.010, State(broken, np.zeros(6)), Hover(HEIGHT))
    assert later.status is Status.DEGRADED and "last plan" in later.message and np.all(np.isfinite(later.effort))


@pytest.mark.slow
def test_a_quadrotor_without_weights_of_its_own_flies_with_its_family_s(
    x500: Quadrotor, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("mine") / "mine"
    folder.mkdir()
    text = (
        (x500.folder / "robot.yaml")
        .read_text()
        .replace("name: x500", "name: mine")
        .replace("mass_kg: 2.064", "mass_kg: 1.5")
    )
    (folder / "robot.yaml").write_text(text)
    robot = load_robot(folder)
    assert isinstance(robot, Quadrotor)
    errors = _fly(
        robot,
        make_controller(robot, "meta_mpc"),
        replace(NOISY, wind=Wind(np.array([4.0, 0.0, 0.0]))),
        FigureEight(HEIGHT),
        5.0,
    )
    assert _rms_mm(errors[400:]) < 20.0


def test_an_accelerometer_that_is_not_finite_is_left_out(x500: Quadrotor) -> None:
    controller = make_controller(x500, "meta_mpc")
    for k in range(20):
        force = np.full(3, np.nan) if k % 2 else np.array([0.0, 0.0, 9.81])
        command = controller.step(0.005 * k, State(x500.home, np.zeros(6), force), Hover(x500.home[:3]))
        assert command.status is Status.SOLVED and np.all(np.isfinite(command.effort))


def test_a_plan_is_never_moved_back(x500: Quadrotor) -> None:
    """As a latency that is learned to be shorter asks for."""
    controller = make_controller(x500, "nominal_mpc")
    controller.step(0.0, State(x500.home, np.zeros(6)), FigureEight(HEIGHT))
    plan = controller._last
    earlier = controller._shifted(plan, plan.start - 0.004)
    assert np.allclose(earlier.states, plan.states, atol=1e-12)  # but for the quaternions' norm
    assert np.array_equal(earlier.inputs, plan.inputs)


@pytest.mark.slow
def test_noise_beyond_that_of_training_is_not_taken_for_changes(x500: Quadrotor) -> None:
    """Position noise five times the tuned one, and late states without an IMU: the levels are estimated online."""
    noise = {"position_noise_m": 0.005, "attitude_noise_rad": 0.005, "velocity_noise_m_s": 0.05}
    task = QuadrotorTask(ground_effect=False, imu=False, sensor_delay_s=0.02, gyro_noise_rad_s=0.02, **noise)
    errors = {
        name: _rms_mm(_fly(x500, make_controller(x500, name), task, Hover(HEIGHT), 4.0)[300:])
        for name in ("offset_free_mpc", "meta_mpc")
    }
    assert errors["meta_mpc"] < 20.0 and errors["meta_mpc"] < 1.2 * errors["offset_free_mpc"]
