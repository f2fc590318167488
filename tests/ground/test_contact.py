# SPDX-License-Identifier: Apache-2.0
"""A vehicle on wheels in contact, against physics, against the planar one, and under control."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from metarl_robot.core.errors import MetaRLError, SignalError
from metarl_robot.core.robot import load_robot
from metarl_robot.robots.ground.description import GRAVITY_M_S2, Ground
from metarl_robot.sim.evaluate import evaluate, run_one
from metarl_robot.sim.ground.plant import GroundPlant
from metarl_robot.sim.ground.simulation import GroundSimulation
from metarl_robot.sim.ground.task import CONTACT, GroundTask, PatchedTask
from metarl_robot.sim.scenario import Scenario
from metarl_robot.sim.task_settings import with_settings

Array = NDArray[np.float64]

CAR, HUSKY = load_robot("f1tenth"), load_robot("husky")
assert isinstance(CAR, Ground) and isinstance(HUSKY, Ground)
ROAD = GroundTask(tyre=CONTACT, friction=0.8, rolling_resistance=0.0)


def _driven(robot: Ground, task: GroundTask, effort: list[float], speed: float, duration_s: float) -> GroundPlant:
    plant = GroundPlant(robot, task)
    plant.reset(v=np.array([speed, 0.0, 0.0]))
    plant.step(np.array(effort), duration_s)
    return plant


@pytest.mark.parametrize("robot", [CAR, HUSKY])
def test_it_rolls_freely_and_rolling_resistance_slows_it(robot: Ground) -> None:
    free = _driven(robot, ROAD, [0.0, 0.0], 2.0, 1.0)
    assert free.truth.v[0] == pytest.approx(2.0, abs=2e-3) and free.truth.q[0] == pytest.approx(2.0, abs=2e-3)
    slowed = _driven(robot, replace(ROAD, rolling_resistance=0.03), [0.0, 0.0], 2.0, 1.0)
    inertia = 1.0 + robot.rolling_mass_kg / robot.mass_kg
    assert 2.0 - slowed.truth.v[0] == pytest.approx(0.03 * GRAVITY_M_S2 / inertia, rel=0.03)


def test_torque_accelerates_the_mass_the_load_and_the_wheels_inertia() -> None:
    task = replace(ROAD, payload_mass_kg=1.0)
    plant = _driven(CAR, task, [0.0, 0.4], 1.0, 0.5)
    before = plant.truth.v[0]
    plant.step(np.array([0.0, 0.4]), 0.5)
    expected = 0.4 / CAR.wheel_radius_m / (CAR.mass_kg + 1.0 + CAR.rolling_mass_kg)
    assert 2.0 * (plant.truth.v[0] - before) == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("friction", [0.3, 0.4])
def test_locked_wheels_brake_by_coulomb_s_law_and_a_patch_has_its_own(friction: float) -> None:
    brake = [0.0, CAR.effort_lower[1]]
    plant = _driven(CAR, replace(ROAD, friction=friction), brake, 5.0, 0.1)
    before = plant.truth.v[0]
    plant.step(np.array(brake), 0.2)
    assert (before - plant.truth.v[0]) / 0.2 == pytest.approx(friction * GRAVITY_M_S2, rel=0.05)
    patch = PatchedTask(**{**vars(ROAD), "friction": 1.0}, patch_radius_m=50.0, patch_friction=friction)
    assert _driven(CAR, patch, brake, 5.0, 0.3).truth.v[0] == pytest.approx(plant.truth.v[0], abs=1e-9)


def test_a_car_that_brakes_with_one_side_on_ice_turns_away_from_it() -> None:
    task = replace(ROAD, friction=0.2, right_share=4.0)
    assert _driven(CAR, task, [0.0, CAR.effort_lower[1]], 5.0, 0.3).truth.v[2] < -0.3


def test_a_slow_turn_has_the_radius_of_ackermann_s_geometry() -> None:
    plant = _driven(CAR, ROAD, [0.3, 0.02], 1.0, 2.0)
    state = plant.truth
    rate = float(np.hypot(state.v[0], state.v[1])) * np.cos(np.arctan(0.17145 / CAR.wheelbase_m * np.tan(0.3)))
    assert state.v[2] == pytest.approx(rate * np.tan(0.3) / CAR.wheelbase_m, rel=0.03)
    assert state.q[2] > 1.0 and not plant.crashed


def test_the_yaw_counts_whole_turns() -> None:
    plant = _driven(CAR, ROAD, [0.4, 0.2], 1.5, 8.0)
    assert plant.truth.q[2] > 2.5 * np.pi


def test_a_skid_steered_vehicle_turns_on_the_spot_only_beyond_its_friction() -> None:
    """Torque to turn: µ m g r x / (2 sqrt(x² + y²)) on each side, with the wheels at (±x, ±y)."""
    x, y = np.abs(HUSKY.track.positions[0])
    least = 0.8 * HUSKY.mass_kg * GRAVITY_M_S2 * HUSKY.wheel_radius_m * x / (2.0 * np.hypot(x, y))
    below, above = (_driven(HUSKY, ROAD, [-share * least, share * least], 0.0, 1.0).truth for share in (0.6, 1.3))
    assert abs(below.q[2]) < 0.05 and above.q[2] > 0.3


def test_a_tall_vehicle_overturns_and_a_low_one_slides() -> None:
    tall = Ground(CAR.description.model_copy(update={"com_height_m": 0.4}), CAR.folder)
    for robot, overturned in ((CAR, False), (tall, True)):
        plant = GroundPlant(robot, replace(ROAD, friction=1.0))
        plant.reset(v=np.array([0.0, 4.0, 0.0]))  # sideways
        plant.step(np.zeros(2), 1.5)
        assert plant.crashed is overturned


def test_the_planar_vehicle_with_stiff_tyres_turns_alike() -> None:
    task = GroundTask(friction=0.9, stiffness_scale=20.0)
    ends = [_driven(CAR, replace(task, tyre=tyre), [0.1, 0.1], 2.0, 2.0).truth.v for tyre in ("force", CONTACT)]
    planar, contact = (v[2] / np.hypot(v[0], v[1]) for v in ends)
    assert contact == pytest.approx(planar, rel=0.03)


def test_bumps_shake_the_vehicle_and_keep_it_on_the_ground() -> None:
    plant = GroundPlant(CAR, replace(ROAD, bump_height_m=0.004))
    plant.reset(v=np.array([2.0, 0.0, 0.0]))
    heights = []
    for _ in range(100):
        plant.step(np.array([0.0, 0.1]), 0.01)
        heights.append(plant._chassis._data.qpos[2])  # type: ignore[attr-defined]
    assert 0.001 < np.std(heights) < 0.02 and not plant.crashed
    assert plant.truth.v[0] > 1.0


def test_physics_can_change_under_way_and_the_state_does_not_jump() -> None:
    plant = _driven(CAR, GroundTask(), [0.1, 0.2], 2.0, 0.5)
    before = plant.truth
    plant.set_task(GroundTask(tyre=CONTACT))
    plant.step(np.array([0.1, 0.2]), 0.001)
    after = plant.truth
    assert np.allclose(after.q, before.q, atol=5e-3) and np.allclose(after.v, before.v, atol=0.1)


def test_the_tyre_is_plain_data_and_data_sets_without_it_keep_their_hash() -> None:
    task = replace(ROAD, bump_height_m=0.01)
    assert GroundSimulation.task_from_dict(task.to_dict()).to_dict() == task.to_dict()
    assert "tyre" not in GroundTask().to_dict()
    for wrong in ({"tyre": "ice"}, {"bump_height_m": 0.1}, {"tyre": CONTACT, "bump_height_m": -0.1}):
        with pytest.raises(SignalError, match="tyre|bump"):
            GroundTask(**wrong)


def test_a_setting_changes_every_task_of_a_run() -> None:
    room = GroundSimulation(CAR)
    drawn: Scenario[GroundTask] = room.scenario("heldout", "load", 1000)
    made = with_settings(drawn, room.task_settings.of({"tyre": CONTACT, "bump_height_m": "0.002"}))
    tasks = [made.initial, *(task for _, task in made.changes)]
    assert [(task.tyre, task.bump_height_m) for task in tasks] == [(CONTACT, 0.002)] * 2
    assert [time for time, _ in made.changes] == [time for time, _ in drawn.changes]
    assert made.reference is drawn.reference
    assert with_settings(drawn, room.task_settings.of({})) is drawn
    with pytest.raises(MetaRLError, match="tyre"):
        room.task_settings.of({"tyre": "rubber"})


def test_the_adapted_car_keeps_to_its_path_and_the_record_names_the_physics() -> None:
    settings = {"tyre": CONTACT}
    adapted = run_one(CAR, "heldout", "load", 1003, "meta_mpc", settings=settings)
    assert all(task.tyre == CONTACT for task in (adapted.scenario.initial, *(t for _, t in adapted.scenario.changes)))
    assert adapted.result.rmse_after_m < 0.01 and adapted.result.measures["spins"] == 0.0
    record = evaluate(CAR, "nominal", ["pure_pursuit"], [1000], settings=settings).to_json()
    assert record["settings"] == settings
