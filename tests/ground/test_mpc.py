# SPDX-License-Identifier: Apache-2.0
"""MPC of a ground vehicle: its plan's steps, its bounds by friction, starts from rest, and adaptation to the ground."""

from __future__ import annotations

import casadi as ca
import numpy as np
import pytest
from numpy.typing import NDArray

from metarl_robot.control.factory import make_controller
from metarl_robot.core.robot import load_robot
from metarl_robot.core.signals import Context, Status
from metarl_robot.robots.ground.context_names import FRICTION
from metarl_robot.robots.ground.description import GRAVITY_M_S2, Ground
from metarl_robot.robots.ground.dynamics import N_PARAMETERS, flow
from metarl_robot.robots.ground.flat_outputs import GroundOutputs
from metarl_robot.robots.ground.grip import torque_bounds
from metarl_robot.robots.ground.plan import GroundPlan
from metarl_robot.robots.ground.terrain_report import LoadReport, TerrainReport
from metarl_robot.sim.episode import run_episode
from metarl_robot.sim.episode_scores import EpisodeResult
from metarl_robot.sim.ground.cross_track import nearest_on
from metarl_robot.sim.kinds import simulation

Array = NDArray[np.float64]

ROBOT = load_robot("f1tenth")
assert isinstance(ROBOT, Ground)
NOTHING, STILL = np.zeros(N_PARAMETERS), np.zeros(3)


def test_a_plan_s_steps_are_stable_at_standstill() -> None:
    """A tyre is a stiff damper there; an explicit step of this length diverges."""
    plan, states = GroundPlan(ROBOT, 2, 0.04), np.zeros((3, 8))
    linear = plan.linearise(states, np.zeros((2, 2)), np.zeros((2, 3)), NOTHING, states)
    by_state, _ = plan.dense(linear, 0)
    assert np.abs(np.linalg.eigvals(by_state)).max() < 1.0 + 1e-9


@pytest.mark.parametrize("speed", [0.3, 2.0, 6.0])
def test_a_plan_s_step_agrees_with_fine_integration(speed: float) -> None:
    x, u = ca.SX.sym("x", 8), ca.SX.sym("u", 2)
    rate = ca.Function("rate", [x, u], [flow(ROBOT, x, u, ca.SX.zeros(3), ca.SX.zeros(N_PARAMETERS))])
    state, command = np.array([0.0, 0.0, 0.3, speed * np.cos(0.3), speed * np.sin(0.3), 0.2, 0.1, 0.3]), [0.15, 0.6]
    fine = state.copy()
    for _ in range(4000):
        fine += 5e-6 * np.array(rate(fine, command))[:, 0]
    stepped = GroundPlan(ROBOT, 2, 0.04).advance(state, np.array(command), STILL, NOTHING, 0.02)
    change = np.abs(fine - state)
    assert np.all(np.abs(stepped - fine) < 0.15 * change + 1e-3)


def test_torques_of_a_plan_stay_within_the_friction_circle_of_each_axle() -> None:
    states = np.zeros((3, 8))
    states[:, 3], states[:, 5] = 4.0, [0.0, 1.0, 9.0]
    lower, upper = torque_bounds(ROBOT, states, 0.9, ROBOT.mass_kg, 1.0)
    assert np.all(np.isinf(lower[:, 0])) and np.all(np.isinf(upper[:, 0]))
    for braking, driving, turning in zip(lower[:2, 1], upper[:2, 1], states[:2, 3] * states[:2, 5] / GRAVITY_M_S2,
                                         strict=True):  # fmt: skip
        front, rear = _free(braking, turning)
        assert rear == pytest.approx(1.0) and front < 0.8  # braking unloads the rear
        front, rear = _free(driving, turning)
        assert front == pytest.approx(1.0) and rear < 0.8
    assert lower[2, 1] < 0.0 < upper[2, 1] < 0.5 * upper[0, 1]  # in any turn some is left


def _free(torque: float, turning: float) -> Array:
    """Longitudinal force of each axle over that which its lateral force, at its static load, leaves."""
    track, weight = ROBOT.single_track, ROBOT.mass_kg * GRAVITY_M_S2
    force = torque / ROBOT.wheel_radius_m
    load = track.load_share @ np.array([weight, -ROBOT.com_height * force, 0.0])
    left = np.sqrt((0.9 * load) ** 2 - (track.load_share[:, 0] * weight * turning) ** 2)
    return np.abs(track.torque_share[:, 1] * force) / left


def test_the_two_sides_of_a_skid_steered_vehicle_may_use_what_they_carry() -> None:
    husky = load_robot("husky")
    assert isinstance(husky, Ground)
    lower, upper = torque_bounds(husky, np.zeros((1, 8)), 0.8, husky.mass_kg, 1.0)
    side = 0.5 * 0.8 * husky.mass_kg * GRAVITY_M_S2 * husky.wheel_radius_m
    np.testing.assert_allclose(upper, side)
    np.testing.assert_allclose(lower, -side)


@pytest.mark.parametrize("motion", GroundOutputs.motion_names)
def test_it_starts_from_rest_on_every_motion(motion: str) -> None:
    controller, room = make_controller(ROBOT, "nominal_mpc"), simulation(ROBOT)
    plant = room.plant(room.nominal_task())
    reference = GroundOutputs(ROBOT).motion(motion, np.random.default_rng(0), 5.0)
    state = plant.reset(reference.sample(np.zeros(1)).q[0])
    for k in range(80):
        command = controller.step(0.01 * k, state, reference)
        assert command.status is Status.SOLVED, f"{k}: {command.message}"
        state = plant.step(command.effort, 0.01)
    if motion != "hold":
        assert float(np.hypot(*state.v[:2])) > 0.5


def test_the_cross_track_error_is_that_of_the_nearest_point_of_the_lap() -> None:
    turn = np.linspace(0.0, 6.0 * np.pi, 3000)
    path = 5.0 * np.column_stack([np.cos(turn), np.sin(turn)])
    late = turn - 0.2
    places = 5.1 * np.column_stack([np.cos(late), np.sin(late)])
    after = slice(40, None)  # the first ones are before the path's start
    found, along = nearest_on(path, places[after])
    np.testing.assert_allclose(np.linalg.norm(found - places[after], axis=1), 0.1, atol=1e-3)
    np.testing.assert_allclose(along, 5.0 * late[after], atol=0.05)


def test_reports_are_in_physical_units() -> None:
    names = (FRICTION, "rolling_resistance_change", "slope_x_rad", "slope_y_rad", "payload_mass_kg")
    context = Context(names, np.array([np.log(0.5), 0.02, 0.1, -0.1, 1.5]), np.full(5, 0.1))
    terrain = TerrainReport(1.0, 0.01).estimate(context)
    load = LoadReport().estimate(context)
    assert terrain is not None and load is not None
    np.testing.assert_allclose(terrain.mean, [0.5, 0.03, 0.1, -0.1])
    np.testing.assert_allclose(terrain.std, [0.05, 0.1, 0.1, 0.1])
    assert (load.mean[0], load.std[0]) == (1.5, 0.1)
    assert "friction 1.00 -> 0.50" in TerrainReport(1.0, 0.01).change(
        np.array([1.0, 0, 0, 0]), np.array([0.5, 0, 0, 0])
    )


def _result(name: str) -> EpisodeResult:
    scenario = simulation(ROBOT).scenario("heldout", "surface", 1001)
    return run_episode(ROBOT, lambda _: make_controller(ROBOT, name), scenario, name).result


def test_adaptation_is_far_better_than_the_nominal_model() -> None:
    meta, nominal = _result("meta_mpc"), _result("nominal_mpc")
    assert meta.rmse_after_m < 0.5 * nominal.rmse_after_m and meta.rmse_after_m < 0.05
    assert meta.measures["spins"] == 0.0 and meta.failed_steps == 0
    assert meta.measures["progress_m_s"] > 0.9 * nominal.measures["progress_m_s"]
