# SPDX-License-Identifier: Apache-2.0
"""Family `<car>-drive`: tasks that can be driven, many cars like single ones, ends of episodes, and the shared law."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from metarl_robot.core.errors import MetaRLError, UnknownNameError
from metarl_robot.core.robot import load_robot
from metarl_robot.core.signals import Setpoints, State
from metarl_robot.learning.policies.family import family_names, load_family, sizes_of
from metarl_robot.robots.ground.drive_law import POINTS, SHARE, DriveLaw
from metarl_robot.robots.ground.obstacles import Obstacles, clearance
from metarl_robot.sim.ground.drive import FAILURE, HORIZON, Drive
from metarl_robot.sim.ground.task import GroundTask

ROBOT: Any = load_robot("f1tenth")
CALM = GroundTask(friction=1.0)


@pytest.fixture(scope="module")
def family() -> Any:
    return load_family("f1tenth-drive")


@pytest.fixture(scope="module")
def tasks(family: Any) -> list[Drive]:
    rng = np.random.default_rng(1000)
    return [family.sample_task(rng) for _ in range(3)]


def straight(count: int, speed_m_s: float = 2.0) -> Setpoints:
    """Points of a straight line (count, 3)."""
    zeros = np.zeros(count)
    along = 0.02 * speed_m_s * np.arange(count)
    return Setpoints(
        np.column_stack([along, zeros, zeros]), np.tile([speed_m_s, 0.0, 0.0], (count, 1)), np.zeros((count, 3))
    )


def test_names_are_those_of_steered_vehicles(family: Any) -> None:
    assert "f1tenth-drive" in family_names() and "husky-drive" not in family_names()
    assert sizes_of(family) == (DriveLaw.observations, 2)
    with pytest.raises(UnknownNameError, match="'husky-drive'.*f1tenth-drive"):
        load_family("husky-drive")
    husky: Any = load_robot("husky")
    with pytest.raises(MetaRLError, match="'husky' is skid-steered"):
        DriveLaw(husky)


def test_a_car_keeps_gymnasiums_contract(family: Any, tasks: list[Drive]) -> None:
    check_env(family.env(tasks[0]), skip_render_check=True)


def test_lines_pass_the_obstacles_of_their_task(family: Any, tasks: list[Drive]) -> None:
    again = family.sample_task(np.random.default_rng(1000))
    np.testing.assert_array_equal(again.line.q, tasks[0].line.q)
    assert again.conditions.to_dict() == tasks[0].conditions.to_dict() != tasks[1].conditions.to_dict()
    for task in tasks:
        assert len(task.obstacles) and clearance(ROBOT, Obstacles(task.obstacles), task.line.q).min() > 0.0
        speeds = np.hypot(task.line.v[:, 0], task.line.v[:, 1])
        assert speeds[:HORIZON].min() > 0.0
        most = np.hypot(task.line.a[:, 0], task.line.a[:, 1])[:HORIZON]
        assert np.median(most) < 9.81 * task.conditions.friction, "the ground can give these accelerations"
    assert not np.array_equal(tasks[0].obstacles, tasks[1].obstacles)


def test_many_cars_drive_like_single_ones(family: Any, tasks: list[Drive]) -> None:
    many = family.vector_env(tasks)
    many.reset(seed=5)
    singles = [family.vector_env([task]) for task in tasks]
    for i, env in enumerate(singles):
        env.reset(seed=5)
        env._plant._seeds = many._plant._seeds[i : i + 1]
        v = many._plant.truth
        env._measured = env._plant.reset(v.q[i : i + 1], v.v[i : i + 1])
        env._at = many._at[i : i + 1].copy()
    rng = np.random.default_rng(1001)
    for _ in range(20):
        actions = rng.uniform(-1.5, 1.5, (3, 2))
        seen, rewards, *_ = many.step(actions)
        for i, env in enumerate(singles):
            one = env.step(actions[i : i + 1])
            np.testing.assert_allclose(seen[i], one[0][0], atol=1e-5)
            assert rewards[i] == pytest.approx(one[1][0], abs=1e-6)


def test_an_obstacle_ends_an_episode_and_the_end_of_the_line_is_a_success(family: Any) -> None:
    line = straight(HORIZON + 50)
    env = family.vector_env([Drive(CALM, line, np.array([[3.0, 0.0, 0.2]])), Drive(CALM, line, np.zeros((0, 3)))])
    env.reset(seed=6)
    failed = None
    for step in range(HORIZON):
        _, rewards, ended, late, info = env.step(np.zeros((2, 2)))
        if failed is None and ended[0]:
            failed = step
            assert rewards[0] < -FAILURE and env._plant.truth.q[0, 0] == pytest.approx(3.0 - 0.2 - 0.255, abs=0.1)
        elif failed is not None:
            assert rewards[0] == 0.0 and ended[0], "after its end nothing counts"
    assert failed is not None and late.all() and not ended[1]
    assert info["success"].tolist() == [False, True]


@pytest.mark.parametrize("channel", [0, 1])
def test_corrections_compensate_what_the_law_does_not_know(family: Any, channel: int) -> None:
    """A bent steering, and ground that resists rolling: with the fitting correction the error is less than half."""
    unknown = GroundTask(steering_offset_rad=-0.05) if channel == 0 else GroundTask(rolling_resistance=0.3)
    line, errors = straight(HORIZON + 50), []
    for share in (0.0, 1.0):
        env = family.vector_env([Drive(unknown, line, np.zeros((0, 3)))])
        env.reset(seed=7)
        env._correction[:, channel] = share * (0.05 / 0.4189 / SHARE if channel == 0 else 0.9)
        for _ in range(60):
            env.step(np.zeros((1, 2)))
        aside, _, slower = env._law._errors(env._measured, env._line())
        errors.append(abs(float((aside, slower)[channel][0])))
    assert errors[1] < 0.4 * errors[0], errors


def test_the_law_follows_a_line_without_an_unknown(family: Any) -> None:
    """Critically damped: from 0.2 m aside to the line, without passing it by more than 2 cm."""
    line = straight(HORIZON + 50)
    env = family.vector_env([Drive(CALM, line, np.zeros((0, 3)))])
    env.reset(seed=8)
    env._measured = env._plant.reset(np.array([[0.0, 0.2, 0.0]]), np.array([[2.0, 0.0, 0.0]]))
    aside = []
    for _ in range(HORIZON):
        env.step(np.zeros((1, 2)))
        aside.append(env._plant.truth.q[0, 1])
    assert min(aside) > -0.02 and abs(aside[-1]) < 0.005


def test_observations_are_bounded_and_do_not_depend_on_the_place(family: Any) -> None:
    """Moved and turned together, car and line look the same."""
    law, rng = DriveLaw(ROBOT), np.random.default_rng(1002)
    line = Setpoints(*(rng.normal(size=(1, POINTS, 3)) for _ in range(3)))
    state, turn = State(rng.normal(size=(1, 3)), rng.normal(size=(1, 3))), 2.0
    c, s = np.cos(turn), np.sin(turn)
    rotation = np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
    shift = np.array([3.0, -1.0, turn])
    there = Setpoints(line.q @ rotation.T + shift, line.v @ rotation.T, line.a @ rotation.T)
    moved = State(state.q @ rotation.T + shift, state.v @ rotation.T)
    seen = law.observe(state, line, np.zeros((1, 2)))
    np.testing.assert_allclose(law.observe(moved, there, np.zeros((1, 2))), seen, atol=1e-9)
    np.testing.assert_allclose(law.effort(moved, there, np.ones((1, 2))), law.effort(state, line, np.ones((1, 2))))
    assert np.abs(seen).max() <= 5.0
