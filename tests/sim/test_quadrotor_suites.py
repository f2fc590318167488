# SPDX-License-Identifier: Apache-2.0
"""Suites of flights: all can be flown, none is drawn twice, and each fits its name."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from metarl_robot.core import rotation
from metarl_robot.core.errors import MetaRLError, SignalError, UnknownNameError
from metarl_robot.core.robot import load_robot
from metarl_robot.robots.quadrotor.trajectory_limits import check_flight
from metarl_robot.sim.quadrotor.feasibility import flight_use, hover_use, required_thrusts
from metarl_robot.sim.quadrotor.model import hover_command
from metarl_robot.sim.quadrotor.plant import QuadrotorBatch, QuadrotorPlant
from metarl_robot.sim.quadrotor.ranges import TRAIN, draw_task, reference_wind
from metarl_robot.sim.quadrotor.suites import (
    CHANGE_S,
    CRASH_IMPACT_M_S,
    DURATION_S,
    scenario,
    scenario_names,
    suite,
    suite_names,
)
from metarl_robot.sim.quadrotor.tasks import NOISES, QuadrotorTask, Wind

ROBOTS = {name: load_robot(name) for name in ("x500", "hummingbird", "crazyflie")}
X500 = ROBOTS["x500"]
each_robot = pytest.mark.parametrize("robot", ROBOTS.values(), ids=ROBOTS)
RUNS = [(name, kind) for name in suite_names() for kind in scenario_names(name)]


@each_robot
@pytest.mark.parametrize(("name", "kind"), RUNS)
def test_every_run_can_be_flown(robot, name: str, kind: str) -> None:
    run = scenario(robot, name, kind, 0)
    after = run.task_at(DURATION_S)
    assert max(hover_use(robot, run.initial), hover_use(robot, after)) <= 0.80
    assert flight_use(robot, run.initial, run.reference, 0.0, CHANGE_S) <= 0.85
    assert flight_use(robot, after, run.reference, CHANGE_S, DURATION_S) <= 0.85
    check_flight(robot, run.reference, 0.0, DURATION_S)
    points = run.reference.sample(np.linspace(0.0, DURATION_S, 200))
    assert points.q[:, 2].min() > (-0.02 if name == "contact" else 0.75)
    np.testing.assert_allclose(points.v[0], 0.0, atol=1e-9)  # from rest
    assert run.scored_from_s == (0.0 if name == "upset" else 2.0)


@each_robot
def test_winds_are_those_of_their_names(robot) -> None:
    share = reference_wind(robot) / 12.1
    assert share <= 1.0
    for kind, speed in (("wind_0", 0.0), ("wind_4", 4.2), ("wind_8", 8.5), ("wind_8_gusty", 8.5), ("wind_12", 12.1)):
        run = scenario(robot, "heldout", kind, 3)
        assert run.changes == ()
        assert np.linalg.norm(run.initial.wind.mean_m_s) == pytest.approx(share * speed)
        assert np.linalg.norm(run.initial.wind.swing_m_s) == pytest.approx(
            share * (2.4 if kind == "wind_8_gusty" else 0.0)
        )
        eight = run.reference.sample(np.linspace(3.0, 3.0 + 2 * np.pi, 400)).q[:, :3] - [0.0, 0.0, 2.0]
        np.testing.assert_allclose(np.abs(eight).max(0), [1.25, 0.0, 0.75], atol=1e-3)


def test_the_larger_quadrotors_hold_every_wind() -> None:
    assert reference_wind(X500) == reference_wind(ROBOTS["hummingbird"]) == 12.1
    assert 8.0 < reference_wind(ROBOTS["crazyflie"]) < 12.1


@pytest.mark.slow
@each_robot
def test_changes_are_what_they_are_called(robot) -> None:
    for seed in range(3):
        hooked = scenario(robot, "heldout", "payload", seed)
        assert hooked.initial.payload.mass_kg == 0.0
        assert hooked.task_at(CHANGE_S).payload.mass_kg == pytest.approx(0.3 * robot.mass_kg)
        assert scenario(robot, "heldout", "drop", seed).task_at(CHANGE_S).payload.mass_kg == 0.0
        assert 0.1 <= scenario(robot, "train", "payload", seed).task_at(CHANGE_S).payload.mass_kg / robot.mass_kg <= 0.3
        assert (
            0.3
            <= scenario(robot, "extrapolation", "heavy", seed).task_at(CHANGE_S).payload.mass_kg / robot.mass_kg
            <= 0.45
        )
        for name, kind, count in (("heldout", "weak_rotor", 1), ("extrapolation", "two_weak_rotors", 2)):
            run = scenario(robot, name, kind, seed)
            assert np.all(run.initial.effectiveness == 1.0)
            assert np.sum(run.task_at(CHANGE_S).effectiveness < 1.0) == count
        strong = scenario(robot, "extrapolation", "strong_wind", seed)
        assert np.linalg.norm(strong.task_at(CHANGE_S).wind.mean_m_s) > reference_wind(robot)
        assert scenario(robot, "extrapolation", "slung", seed).task_at(CHANGE_S).sling_m > 0.0


@each_robot
def test_the_wall_of_wind_is_met_at_the_change(robot) -> None:
    run = scenario(robot, "heldout", "wind_wall", 1)
    wall = run.initial.wind.wall
    depth = run.reference.sample(np.array([CHANGE_S - 1.0, CHANGE_S, CHANGE_S + 1.0])).q[:, :3] @ wall.normal
    assert depth[0] < 0.0 < depth[2]
    assert depth[1] == pytest.approx(0.0, abs=1e-6)
    assert run.task_at(CHANGE_S).to_dict() == run.initial.to_dict()


@pytest.mark.slow
def test_draws_repeat_and_differ_between_suites_seeds_and_kinds() -> None:
    def drawn(name: str, kind: str, seed: int) -> str:
        run = scenario(X500, name, kind, seed)
        return json.dumps([run.initial.to_dict(), [task.to_dict() for _, task in run.changes], run.noise_seed])

    assert drawn("train", "drop", 1) == drawn("train", "drop", 1)
    runs = [
        drawn(name, kind, seed)
        for name in ("train", "heldout")
        for kind in ("payload", "drop", "weak_rotor")
        for seed in range(3)
    ]
    assert len(set(runs)) == len(runs)
    assert len(suite(X500, "extrapolation", range(2))) == 2 * len(scenario_names("extrapolation"))


def test_wrong_names_and_seeds_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="heldout"):
        scenario(X500, "helout", "payload", 0)
    with pytest.raises(UnknownNameError, match="wind_12"):
        scenario(X500, "heldout", "wind_13", 0)
    with pytest.raises(MetaRLError, match="seed"):
        scenario(X500, "heldout", "payload", -1)


@each_robot
def test_draws_are_within_the_ranges(robot) -> None:
    rng = np.random.default_rng(0)
    tasks = [draw_task(robot, rng) for _ in range(400)]
    latency = np.array([task.command_delay_s + task.sensor_delay_s for task in tasks])
    assert latency.max() <= 0.020
    assert latency.min() < 0.001
    mass = np.array([task.payload.mass_kg for task in tasks]) / robot.mass_kg
    assert mass.max() <= 0.3
    assert np.mean(mass > 0.0) == pytest.approx(TRAIN.payload_probability, abs=0.08)
    wind = np.array([np.linalg.norm(task.wind.mean_m_s) for task in tasks]) / reference_wind(robot)
    assert wind.max() <= 1.0
    assert np.mean(wind > 0.0) == pytest.approx(TRAIN.wind_probability, abs=0.08)
    gain = np.array([task.thrust_gain(robot) for task in tasks])
    assert gain.min() >= 0.7 * 0.8
    assert gain.max() <= 1.0
    for name in ("position_noise_m", "velocity_noise_m_s", "accelerometer_noise_m_s2"):
        low, high = getattr(TRAIN, name)
        values = np.array([getattr(task, name) for task in tasks])
        assert np.all((values >= low) & (values <= high))


def test_tasks_survive_json() -> None:
    rng = np.random.default_rng(1)
    tasks = [draw_task(X500, rng) for _ in range(5)]
    tasks += [
        scenario(X500, name, kind, 0).task_at(DURATION_S)
        for name, kind in (("heldout", "wind_wall"), ("extrapolation", "slung"))
    ]
    for task in tasks:
        again = QuadrotorTask.from_dict(json.loads(json.dumps(task.to_dict(), allow_nan=False)))
        assert again.to_dict() == task.to_dict()


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ({"batery": 1.0}, "batery"),
        ({"battery": 0.0}, "battery"),
        ({"effectiveness": [1.0, 1.0, 1.0]}, "effectiveness"),
        ({"wind": {"mean": [1, 0, 0]}}, "mean"),
        ({"command_delay_s": 0.2}, "command_delay_s"),
        ({"sling_m": 0.3}, "sling"),
        ({"payload": 3.0}, "Payload"),
    ],
)
def test_wrong_tasks_are_refused_by_name(content, named: str) -> None:
    with pytest.raises(SignalError, match=named):
        QuadrotorTask.from_dict(content)


@each_robot
def test_required_thrusts_are_those_of_a_hover_at_rest(robot) -> None:
    task = draw_task(robot, np.random.default_rng(3))
    calm = QuadrotorTask(payload=task.payload, effectiveness=task.effectiveness)
    rest = scenario(robot, "nominal", "undisturbed", 0).reference.sample(np.zeros(1))
    needed = required_thrusts(
        robot, calm, type(rest)(np.r_[rest.q[0, :3], rotation.IDENTITY][None], 0 * rest.v, 0 * rest.a)
    )[0]
    np.testing.assert_allclose(np.minimum(needed, robot.effort_limit), hover_command(robot, calm), rtol=1e-9)
    windy = QuadrotorTask(payload=task.payload, effectiveness=task.effectiveness, wind=Wind((6.0, 0.0, 0.0)))
    assert hover_use(robot, windy) > hover_use(robot, calm)


@pytest.mark.parametrize("kind", scenario_names("upset"))
def test_released_upside_down_only_the_ground_is_a_crash(kind: str) -> None:
    run = scenario(X500, "upset", kind, 1)
    assert run.start is not None and rotation.tilt(run.start.q[3:]) > np.deg2rad(119.0)
    assert np.all(np.abs(run.start.v[3:]) <= X500.velocity_limit[3:])
    plant = QuadrotorPlant(X500, run.initial, run.noise_seed)
    plant.reset(run.start.q, run.start.v)
    plant.step(X500.effort_lower, 0.1)
    assert not plant.crashed and rotation.tilt(plant.truth.q[3:]) > np.deg2rad(100.0)
    for _ in range(40):
        plant.step(X500.effort_lower, 0.1)
    assert plant.crashed, "on the ground"


def test_a_tilt_beyond_100_degrees_is_a_crash_in_other_suites() -> None:
    plant = QuadrotorPlant(X500, scenario(X500, "heldout", "payload", 0).initial, 0)
    plant.reset(np.concatenate([[0.0, 0.0, 20.0], rotation.exp(np.array([1.8, 0.0, 0.0]))]))
    plant.step(X500.hover_thrust, 0.01)
    assert plant.crashed


def test_sensors_without_an_imu_measure_no_force_and_a_bias_is_added() -> None:
    assert QuadrotorPlant(X500, scenario(X500, "sensors", "without_imu", 0).initial).measure().specific_force is None
    noisy = scenario(X500, "sensors", "noisy", 0).initial
    assert noisy.position_noise_m == 0.005 and noisy.sensor_delay_s == 0.02
    biased = scenario(X500, "sensors", "accelerometer_bias", 0).initial
    assert 0.5 <= np.linalg.norm(biased.accelerometer_bias_m_s2) <= 1.0
    still = replace(biased, **dict.fromkeys(NOISES, 0.0))
    measured = QuadrotorPlant(X500, still).measure().specific_force
    unbiased = QuadrotorPlant(X500, replace(still, accelerometer_bias_m_s2=np.zeros(3))).measure().specific_force
    np.testing.assert_allclose(measured - unbiased, biased.accelerometer_bias_m_s2)


def test_the_altered_quadrotor_moves_as_newton_says() -> None:
    """Mass, inertia and centre of mass: without air, the body's origin accelerates by the rotors' pull alone."""
    task = QuadrotorTask(mass_scale=1.2, inertia_scale=(0.8, 1.1, 1.2), com_m=(0.02, -0.01, 0.0), drag_scale=(0.0, 0.0))
    task = replace(task, ground_effect=False)
    plant = QuadrotorPlant(X500, task)
    plant.reset(np.concatenate([[0.0, 0.0, 5.0], rotation.IDENTITY]))
    hover = hover_command(X500, task)
    plant.step(hover, 0.5)
    assert np.abs(plant.truth.v).max() < 1e-6, "it hovers with the thrusts that hold its weight at its centre of mass"
    plant.step(hover + 0.1, 0.05)
    assert plant.truth.v[2] > 0.0
    with pytest.raises(SignalError, match="mass_scale"):
        QuadrotorTask(mass_scale=0.0)
    with pytest.raises(SignalError, match="crash_tilt_deg"):
        QuadrotorTask(crash_tilt_deg=0.0)


@each_robot
def test_mismatched_quadrotors_are_as_far_off_as_the_suite_says(robot) -> None:
    for seed in range(3):
        assert 0.1 <= abs(scenario(robot, "mismatch", "mass", seed).initial.mass_scale - 1.0) <= 0.2
        assert 0.1 <= abs(scenario(robot, "mismatch", "thrust", seed).initial.battery - 1.0) <= 0.2
        assert np.linalg.norm(scenario(robot, "mismatch", "centre_of_mass", seed).initial.com_m) < 0.0201
        sag = scenario(robot, "mismatch", "voltage_sag", seed)
        batteries = [sag.task_at(time).battery for time in (0.0, 6.0, 8.0, DURATION_S)]
        assert batteries == sorted(batteries, reverse=True) and np.isclose(batteries[-1], 0.85)


def _fallen(height_m: float, task: QuadrotorTask) -> QuadrotorPlant:
    """A quadrotor that fell to the ground with its rotors idle."""
    plant = QuadrotorPlant(X500, task)
    plant.reset(np.concatenate([[0.0, 0.0, height_m], rotation.IDENTITY]))
    for _ in range(50):
        plant.step(X500.effort_lower, 0.01)
    return plant


def test_in_suite_contact_only_a_fast_impact_is_a_crash() -> None:
    task = replace(scenario(X500, "contact", "landing", 0).initial, ground_effect=False)
    standing_m = 0.5 * X500.description.size_m[2]
    assert task.crash_impact_m_s == CRASH_IMPACT_M_S == 1.0
    soft = _fallen(standing_m + 0.02, task)
    weight_n = (X500.mass_kg + task.payload.mass_kg) * 9.81
    assert not soft.crashed and soft.peak_contact_n > 0.8 * weight_n
    assert _fallen(standing_m + 0.12, task).crashed, "1.5 m/s"
    assert _fallen(standing_m + 0.02, replace(task, crash_impact_m_s=0.0)).crashed, "elsewhere every contact is one"


def test_a_tap_accelerates_the_quadrotor_and_ends_when_it_is_released() -> None:
    run = scenario(X500, "contact", "tap", 0)
    (begun_s, pushed), (ended_s, free) = run.changes
    assert ended_s - begun_s == 0.5 and ended_s == run.released_s and not free.push_n.any()
    assert 0.1 <= np.linalg.norm(pushed.push_n) / (X500.mass_kg * 9.81) <= 0.3
    for compiled in (True, False):
        still, shoved = (
            _velocity_after(replace(QuadrotorTask(ground_effect=False, drag_scale=(0.0, 0.0)), push_n=force), compiled)
            for force in (np.zeros(3), pushed.push_n)
        )
        np.testing.assert_allclose(shoved - still, 0.1 * pushed.push_n / X500.mass_kg, rtol=1e-3, atol=1e-6)


def _velocity_after(task: QuadrotorTask, compiled: bool) -> np.ndarray:
    """Velocity (3,) after 0.1 s from hover."""
    batch = QuadrotorBatch(X500, [task], [0], compiled=compiled)
    batch.reset(np.array([[0.0, 0.0, 5.0, 1.0, 0.0, 0.0, 0.0]]), np.zeros((1, 6)))
    batch.step(X500.hover_thrust[None], 100)
    return batch.truth.v[0, :3]


@each_robot
def test_near_the_ground_the_rotors_are_in_ground_effect_and_a_landing_reaches_the_ground(robot) -> None:
    for seed in range(3):
        standing_m = 0.5 * robot.description.size_m[2]
        low = scenario(robot, "contact", "ground_effect", seed).reference.sample(np.array([11.0])).q[0, 2]
        assert standing_m + 0.029 < low < max(1.51 * robot.rotor_radius_m, standing_m + 0.031)
        landing = scenario(robot, "contact", "landing", seed)
        points = landing.reference.sample(np.linspace(0.0, DURATION_S, 500))
        assert standing_m - 0.031 < points.q[:, 2].min() < standing_m - 0.004
        assert landing.released_s is not None and np.abs(points.v[:, 2]).max() < 0.51
