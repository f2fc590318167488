# SPDX-License-Identifier: Apache-2.0
"""Tasks: plain data that survives JSON, physically possible, within their ranges; impossible ones are refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from metarl_robot.core.errors import SignalError
from metarl_robot.core.robot import load_robot
from metarl_robot.sim.arm.geometry import end_effector_positions, home_position, outward_axis, reach_m
from metarl_robot.sim.arm.task import (
    EXTRAPOLATION,
    TRAIN,
    Cable,
    Task,
    draw_cable,
    draw_payload,
    draw_task,
    nominal_task,
)
from metarl_robot.sim.inertia import symmetric
from metarl_robot.sim.payload import Payload

ROBOTS = ["planar2", "panda"]


@pytest.mark.parametrize("name", ROBOTS)
def test_json_round_trip(name: str) -> None:
    robot = load_robot(name)
    for seed in range(10):
        content = draw_task(robot, np.random.default_rng(seed)).to_dict()
        assert Task.from_dict(json.loads(json.dumps(content, allow_nan=False))).to_dict() == content


@pytest.mark.parametrize("name", ROBOTS)
@pytest.mark.parametrize("ranges", [TRAIN, EXTRAPOLATION])
def test_draws_stay_in_their_ranges_and_use_them(name: str, ranges) -> None:
    robot = load_robot(name)
    rng = np.random.default_rng(1)
    tasks = [draw_task(robot, rng, ranges) for _ in range(300)]
    rated = robot.description.payload.rated_mass_kg
    loaded = [task for task in tasks if task.payload.mass_kg > 0]
    samples = {
        ranges.payload_ratio: [task.payload.mass_kg / rated for task in loaded],
        ranges.com_m: [np.linalg.norm(task.payload.com_m) for task in loaded],
        ranges.coulomb_ratio: [task.coulomb_nm / robot.effort_limit for task in tasks],
        ranges.viscous_ratio_s: [task.viscous_nm_s / robot.effort_limit for task in tasks],
        ranges.motor_strength: [task.motor_strength for task in tasks],
        ranges.latency_s: [task.command_delay_s + task.sensor_delay_s for task in tasks],
        ranges.encoder_resolution_rad: [task.encoder_resolution_rad for task in tasks],
        ranges.velocity_noise_rad_s: [task.velocity_noise_rad_s for task in tasks],
    }
    for (low, high), values in samples.items():
        span = high - low
        assert low - 1e-12 <= np.min(values) < low + 0.1 * span
        assert high - 0.1 * span < np.max(values) <= high + 1e-12
    assert abs(len(loaded) / 300 - ranges.payload_probability) < 0.1
    assert abs(np.mean([task.cable is not None for task in tasks]) - ranges.cable_probability) < 0.12
    assert all(task.payload.com_m @ outward_axis(robot) >= 0 for task in loaded)


def test_panda_ranges_are_those_of_the_specification() -> None:
    robot = load_robot("panda")
    assert TRAIN.payload_ratio[1] * robot.description.payload.rated_mass_kg == 3.0
    assert EXTRAPOLATION.payload_ratio[1] * robot.description.payload.rated_mass_kg == pytest.approx(4.0)
    assert EXTRAPOLATION.coulomb_ratio[1] == 2 * TRAIN.coulomb_ratio[1]


def test_drawn_inertia_is_that_of_a_box() -> None:
    robot, rng = load_robot("panda"), np.random.default_rng(2)
    for _ in range(50):
        payload = draw_payload(robot, rng)
        moments = np.linalg.eigvalsh(symmetric(payload.inertia_kg_m2))
        assert moments[0] > 0 and moments[2] < moments[0] + moments[1]
        assert moments[2] <= payload.mass_kg * 2 * TRAIN.box_side_m[1] ** 2 / 12


def test_inertial_parameters_of_two_point_masses() -> None:
    points = np.array([[0.1, 0.0, 0.02], [-0.03, 0.05, 0.0]])
    masses = np.array([0.5, 1.5])
    com = masses @ points / masses.sum()
    about = [
        sum(m * ((p - o) @ (p - o) * np.eye(3) - np.outer(p - o, p - o)) for m, p in zip(masses, points, strict=True))
        for o in (com, 0.0)
    ]
    six = [[a[0, 0], a[1, 1], a[2, 2], a[0, 1], a[0, 2], a[1, 2]] for a in about]
    np.testing.assert_allclose(
        Payload(2.0, com, six[0]).inertial_parameters(), [2.0, *(masses @ points), *six[1]], atol=1e-15
    )


def test_no_payload_has_no_parameters() -> None:
    assert not np.any(nominal_task(load_robot("panda")).payload.inertial_parameters())


def test_cable_pulls_only_when_stretched_and_stiffens() -> None:
    cable = Cable(np.zeros(3), np.zeros(3), slack_m=0.5, stiffness_n_m=10.0, stiffening_n_m2=20.0)
    assert cable.tension(0.4) == 0.0 == cable.tension(0.5)
    assert cable.tension(0.7) == pytest.approx(10.0 * 0.2 + 20.0 * 0.04)


def test_drawn_cables_pull_up_to_half_the_rated_weight() -> None:
    robot, rng = load_robot("panda"), np.random.default_rng(0)
    home, far = home_position(robot), 0.5 * reach_m(robot)
    cables = [draw_cable(robot, rng) for _ in range(200)]
    tensions = np.array([cable.tension(np.linalg.norm(home - cable.anchor_m) + far) for cable in cables]) / (3.0 * 9.81)
    low, high = TRAIN.cable_force_ratio
    assert low - 1e-9 <= tensions.min() < low + 0.05 and high - 0.05 < tensions.max() <= high + 1e-9
    slack = np.mean([cable.tension(np.linalg.norm(home - cable.anchor_m)) == 0.0 for cable in cables])
    assert 0.2 < slack < 0.6  # at home some hang loose


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"command_delay_s": 0.2}, r"command_delay_s must be in \[0, 0.1\]"),
        ({"sensor_delay_s": -0.001}, "sensor_delay_s"),
        ({"velocity_noise_rad_s": float("nan")}, "velocity_noise_rad_s"),
        ({"motor_strength": [1.0, -1.0]}, "motor_strength"),
        ({"viscous_nm_s": [1.0]}, "viscous_nm_s"),
        ({"swing": True}, "swinging payload needs a mass"),
        ({"payload": {"mass_kg": -1.0}}, "mass_kg"),
        ({"payload": {"mass_kg": 1.0, "com_m": [0.0, 0.0]}}, "com_m must be 3"),
        ({"payload": {"mass_kg": 1.0, "inertia_kg_m2": [1.0, 1.0, 3.0, 0, 0, 0]}}, "impossible for a rigid body"),
        ({"payload": {"mass": 1.0}}, "Payload has the keys"),
        ({"weight": 3.0}, "Task has the keys"),
        ({"cable": {"anchor_m": [0, 0, 1]}}, "point_m"),
    ],
)
def test_impossible_tasks_are_refused(change: dict, says: str) -> None:
    content = nominal_task(load_robot("planar2")).to_dict() | change
    with pytest.raises(SignalError, match=says):
        Task.from_dict(content)


LONG = "x" * 100_000


@pytest.mark.parametrize("change", [{LONG: 1.0}, {"payload": LONG}, {"motor_strength": [LONG]}, {"swing": LONG}])
def test_refusals_are_short(tmp_path: Path, change: dict) -> None:
    timeline = pytest.importorskip("metarl_robot.ros_nodes.timeline", reason="needs ROS 2")
    robot = load_robot("planar2")
    content = nominal_task(robot).to_dict() | change
    file = tmp_path / "task.json"
    file.write_text(json.dumps({"initial": content}))
    with pytest.raises(SignalError) as refusal:
        timeline.timeline(robot, timeline.TimelineParameters(task_file=str(file)), timeline.TaskSettings())
    assert len(str(refusal.value)) < 2_000


def test_payload_is_required() -> None:
    content = nominal_task(load_robot("planar2")).to_dict()
    del content["payload"]
    with pytest.raises(SignalError, match="keys"):
        Task.from_dict(content)


def test_arrays_cannot_be_changed_behind_a_task() -> None:
    task = nominal_task(load_robot("planar2"))
    with pytest.raises(ValueError, match="read-only"):
        task.coulomb_nm[0] = 1.0
    mine = np.ones(2)
    held = replace(task, motor_strength=mine)
    mine[0] = 5.0
    assert held.motor_strength[0] == 1.0


def test_geometry_of_the_planar_arm() -> None:
    robot = load_robot("planar2")
    assert reach_m(robot) == pytest.approx(0.7)
    np.testing.assert_allclose(outward_axis(robot), [1, 0, 0], atol=1e-12)
    q1, q2 = robot.home
    expected = [0.4 * np.cos(q1) + 0.3 * np.cos(q1 + q2), 0.0, 0.4 * np.sin(q1) + 0.3 * np.sin(q1 + q2)]
    np.testing.assert_allclose(home_position(robot), expected, atol=1e-12)
    np.testing.assert_allclose(end_effector_positions(robot, np.zeros((2, 2))), [[0.7, 0, 0]] * 2, atol=1e-12)


@pytest.mark.parametrize("obstacles", [[], [[1.0, 2.0, 0.3]], [[1.0, 2.0]], [1.0, 2.0, 3.0], [[1.0, 2.0, "x"]], 3])
def test_obstacles_of_a_task_file_are_rows_of_three_numbers(tmp_path: Path, obstacles: object) -> None:
    timeline = pytest.importorskip("metarl_robot.ros_nodes.timeline", reason="needs ROS 2")
    robot = load_robot("f1tenth")
    file = tmp_path / "task.json"
    file.write_text(json.dumps({"initial": {}, "obstacles": obstacles}))
    wanted = timeline.TimelineParameters(task_file=str(file))
    if obstacles in ([], [[1.0, 2.0, 0.3]]):
        found = timeline.timeline(robot, wanted, timeline.TaskSettings()).obstacles
        assert found.shape == (len(obstacles), 3)
    else:
        with pytest.raises(SignalError, match=r"task\.json"):
            timeline.timeline(robot, wanted, timeline.TaskSettings())
