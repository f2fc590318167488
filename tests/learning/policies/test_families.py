# SPDX-License-Identifier: Apache-2.0
"""Families: the point's published settings, one environment and many alike, other packages, unsuitable spaces."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import SyncVectorEnv

from metarl_robot.cli.failure import paragraph
from metarl_robot.core.errors import MetaRLError, UnknownNameError
from metarl_robot.learning.policies.baseline import advantages
from metarl_robot.learning.policies.episodes import Episodes, collect
from metarl_robot.learning.policies.family import Family, load_family, sizes_of
from metarl_robot.learning.policies.gaussian import GaussianPolicy, for_tasks
from metarl_robot.learning.policies.one_by_one import OneByOne
from metarl_robot.sim.families.point_navigation import FAMILY, HORIZON, PointNavigation, PointNavigationFamily

Install = Callable[[str, str], None]

OTHER = """
import gymnasium
from metarl_robot.learning.policies.family import Family

class Cards(Family):
    name, horizon = "cards", 5

    def sample_task(self, rng):
        return int(rng.integers(3))

    def env(self, task):
        return gymnasium.make("CliffWalking-v1")

FAMILY = Cards()
"""


class Singles(PointNavigationFamily):
    """The point without its own vectorisation."""

    vector_env = Family.vector_env


def test_the_point_keeps_gymnasiums_contract() -> None:
    check_env(PointNavigation(np.array([0.3, -0.2], dtype=np.float32)), skip_render_check=True)


def test_the_point_has_the_published_settings() -> None:
    env = FAMILY.env(np.array([0.35, 0.1], dtype=np.float32))
    seen, _ = env.reset()
    assert np.array_equal(seen, [0.0, 0.0])
    seen, reward, ended, late, _ = env.step(np.array([5.0, 0.05], dtype=np.float32))  # clipped to 0.1
    np.testing.assert_allclose(seen, [0.1, 0.05])
    assert reward == pytest.approx(-np.hypot(0.25, 0.05)) and not ended and not late
    env.step(np.array([0.1, 0.05], dtype=np.float32))
    env.step(np.array([0.1, 0.0], dtype=np.float32))
    assert env.step(np.array([0.045, -0.005], dtype=np.float32))[2], "within 0.01 of the goal in both coordinates"
    rng = np.random.default_rng(0)
    goals = np.array([FAMILY.sample_task(rng) for _ in range(5000)])
    assert np.abs(goals).max() <= 0.5 and np.abs(goals).max() > 0.499
    assert -100.0 * np.hypot(*goals.T).mean() == pytest.approx(-38.3, abs=0.6)  # as the module's docstring says


def test_many_points_move_like_single_ones() -> None:
    """Also after the end of an episode, where the next step resets."""
    rng = np.random.default_rng(1000)
    tasks = [np.array([0.1, 0.0], dtype=np.float32), FAMILY.sample_task(rng), FAMILY.sample_task(rng)]
    many, single = FAMILY.vector_env(tasks), SyncVectorEnv([lambda task=task: FAMILY.env(task) for task in tasks])
    np.testing.assert_array_equal(many.reset(seed=0)[0], single.reset(seed=0)[0])
    ended = 0
    for step in range(230):
        actions = rng.uniform(-0.2, 0.2, (3, 2)).astype(np.float32)
        actions[0] = (0.1, 0.0) if step == 0 else actions[0]
        for ours, theirs in zip(many.step(actions)[:4], single.step(actions)[:4], strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-7)
        ended += int(many._ended.sum())
    assert ended >= 7, "an arrival and two time limits of each"


def test_episodes_do_not_depend_on_how_environments_are_stepped() -> None:
    policy = GaussianPolicy(2, 2, (8,))
    own = for_tasks(policy.initial(torch.Generator().manual_seed(0), 1.0), 2)
    tasks = [FAMILY.sample_task(np.random.default_rng(k)) for k in (1, 2)]
    found = [collect(family, tasks, 3, policy, own, np.random.default_rng(5)) for family in (FAMILY, Singles())]
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-7)
    assert found[0].observations.shape == (2, 3, 100, 2)


def test_an_environment_stands_still_after_its_end() -> None:
    """Up to then it is stepped as Gymnasium's SyncVectorEnv does it, from the same seeds."""
    tasks = [np.array([0.1, 0.0], dtype=np.float32), np.array([0.4, 0.4], dtype=np.float32)]
    many, theirs = OneByOne([FAMILY.env(task) for task in tasks]), SyncVectorEnv([lambda: FAMILY.env(tasks[1])])
    for _ in range(2):
        many.reset(seed=3)
        theirs.reset(seed=4)
        for step in range(HORIZON):
            seen, rewards, ended, late, _ = many.step(np.array([[0.1, 0.0], [0.01, 0.02]]))
            expected = theirs.step(np.array([[0.01, 0.02]], dtype=np.float32))
            np.testing.assert_array_equal(seen[1], expected[0][0])
            assert (rewards[1], ended[1], late[1]) == tuple(part[0] for part in expected[1:4])
            np.testing.assert_array_equal(seen[0], tasks[0])
            assert ended[0] and not late[0] and (step == 0 or rewards[0] == 0.0)
        assert late[1]


def test_nothing_counts_after_the_end_of_an_episode() -> None:
    policy = GaussianPolicy(2, 2, ())
    still = [torch.zeros(1, 2, 2), torch.full((1, 2), 0.5), torch.full((1, 2), -20.0)]  # 0.05 each step, both ways
    found = collect(FAMILY, [np.array([0.2, 0.2], dtype=np.float32)], 2, policy, still, np.random.default_rng(0))
    assert found.alive.sum() == 2 * 4
    np.testing.assert_allclose(found.returns, -np.sqrt(2.0) * 0.05 * (3 + 2 + 1) * np.ones((1, 2)), atol=1e-5)


def test_advantages_are_returns_above_a_linear_fit() -> None:
    """λ = 1: discounted returns minus the baseline: least squares, with the ridge as further rows."""
    rng = np.random.default_rng(1001)
    alive = np.ones((1, 4, 30), dtype=np.float32)
    alive[0, 1, 20:] = 0.0
    episodes = Episodes(
        rng.normal(size=(1, 4, 30, 2)).astype(np.float32),
        np.zeros((1, 4, 30, 1), dtype=np.float32),
        (rng.normal(size=(1, 4, 30)) * alive).astype(np.float32),
        alive,
        np.zeros_like(alive),
    )
    found = advantages(episodes, 0.9, 1.0)
    rewards = episodes.rewards[0].astype(float)
    returns = np.array([[sum(0.9**k * r for k, r in enumerate(row[t:])) for t in range(30)] for row in rewards])
    seen, time = episodes.observations[0].astype(float), np.tile(np.arange(30) / 100.0, (4, 1))[..., None]
    features = np.concatenate([seen, seen**2, time, time**2, time**3, np.ones_like(time)], axis=-1)
    counted = alive[0] > 0
    rows = np.concatenate([features[counted], np.sqrt(1e-5) * np.eye(8)])
    fit, *_ = np.linalg.lstsq(rows, np.concatenate([returns[counted], np.zeros(8)]), rcond=None)
    raw = (returns - features @ fit)[counted]
    np.testing.assert_allclose(found[0][counted], (raw - raw.mean()) / raw.std(), atol=1e-6)
    assert np.all(found[0][~counted] == 0.0)


def test_half_cheetah_is_rewarded_for_its_direction() -> None:
    family = load_family("half-cheetah-direction")
    assert sizes_of(family) == (17, 6)
    rewards = []
    for direction in (1.0, -1.0):
        env = family.env(direction)
        env.reset(seed=0)
        steps = [env.step(np.full(6, 0.5, dtype=np.float32)) for _ in range(20)]
        rewards.append([step[1] for step in steps])
        speed = steps[-1][4]["x_velocity"]
        assert rewards[-1][-1] == pytest.approx(direction * speed - 0.1 * 6 * 0.25)
        env.close()
    np.testing.assert_allclose(np.sum(rewards, axis=0), -2.0 * 0.1 * 6 * 0.25)
    assert {family.sample_task(np.random.default_rng(k)) for k in range(20)} == {-1.0, 1.0}


def test_half_cheetah_is_rewarded_for_its_speed() -> None:
    family, rng = load_family("half-cheetah-velocity"), np.random.default_rng(1003)
    env = family.env(1.5)
    env.reset(seed=0)
    for _ in range(20):
        action = rng.uniform(-1.0, 1.0, 6)
        _, reward, _, _, info = env.step(action)
        assert reward == pytest.approx(-abs(info["x_velocity"] - 1.5) - 0.05 * action @ action)
    env.close()
    drawn = [family.sample_task(rng) for _ in range(200)]
    assert 0.0 < min(drawn) < 0.1 and 1.9 < max(drawn) < 2.0


def test_a_dead_motor_of_half_cheetah_gives_no_torque() -> None:
    family = load_family("half-cheetah-cripple")
    for task in range(6):
        env: Any = family.env(task)
        env.reset(seed=0)
        env.step(np.full(6, 0.7))
        assert np.array_equal(env.unwrapped.data.ctrl, np.where(np.arange(6) == task, 0.0, 0.7))
        env.close()
    assert {family.sample_task(np.random.default_rng(k)) for k in range(50)} == set(range(6))


@pytest.mark.parametrize(
    ("name", "tasks"),
    [
        ("half-cheetah-direction", [1.0, -1.0]),
        ("half-cheetah-velocity", [0.3, 1.9]),
        ("half-cheetah-cripple", [0.0, 4.0]),
    ],
)
def test_many_half_cheetahs_move_like_gymnasiums(name: str, tasks: list[float]) -> None:
    """Bit for bit, from the same states; after the last step the next one resets."""
    family, rng = load_family(name), np.random.default_rng(1002)
    many: Any = family.vector_env(tasks)
    singles: list[Any] = [family.env(task) for task in tasks]
    first, _ = many.reset(seed=3)
    for i, env in enumerate(singles):
        env.reset(seed=0)
        env.unwrapped.set_state(many._q[i].copy(), many._v[i].copy())
    for step in range(200):
        actions = rng.uniform(-1.0, 1.0, (2, 6))
        seen, rewards, ended, late, _ = many.step(actions)
        for i, env in enumerate(singles):
            expected = env.step(actions[i])
            np.testing.assert_array_equal(seen[i], expected[0])
            assert rewards[i] == pytest.approx(expected[1], rel=1e-9, abs=1e-9)
            assert (ended[i], late[i]) == expected[2:4] == (False, step == 199)
    again, rewards, *_ = many.step(actions)
    assert not np.array_equal(again, first) and np.abs(again[:, :8]).max() < 0.11 and not rewards.any()
    assert np.array_equal(many.reset(seed=3)[0], first)


def test_a_family_of_another_package_is_found_and_its_spaces_are_checked(install: Install) -> None:
    install(OTHER, "[metarl_robot.task_families]\ncards = other_package:FAMILY\n")
    family = load_family("cards")
    with pytest.raises(MetaRLError, match="'cards': its observation space is Discrete.*allowed: a Box"):
        sizes_of(family)


def test_the_family_of_the_documentation_is_trained_on() -> None:
    page = Path(__file__).resolve().parents[3] / "docs" / "howto" / "train_policy.md"
    if not page.is_file():
        pytest.skip("an installed copy")
    source = page.read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    names: dict[str, Any] = {"Family": Family, "gymnasium": gymnasium}
    exec(compile(source, str(page), "exec"), names)
    family = names["FAMILY"]
    assert sizes_of(family) == (3, 1)
    policy = GaussianPolicy(3, 1, (4,))
    own = for_tasks(policy.initial(torch.Generator().manual_seed(0), 1.0), 2)
    found = collect(family, [0.5, 2.0], 1, policy, own, np.random.default_rng(0))
    assert found.observations.shape == (2, 1, 200, 3) and np.isfinite(found.returns).all()


def test_an_unknown_family_is_answered_with_those_there_are() -> None:
    with pytest.raises(UnknownNameError, match=r"'point-navigatio'.*Valid.*panda-reach, planar2-reach, point-navi"):
        load_family("point-navigatio")


def test_missing_packages_are_named_with_the_command_that_installs_them(monkeypatch: pytest.MonkeyPatch) -> None:
    said = paragraph(ModuleNotFoundError("no", name="gymnasium"))
    assert said is not None and "pip install 'metarl_robot[train]'" in said

    def missing(*given: Any, **named: Any) -> None:
        raise gymnasium.error.DependencyNotInstalled("no mujoco")

    monkeypatch.setattr(gymnasium, "make", missing)
    with pytest.raises(MetaRLError, match=r"gymnasium\[mujoco\].*pip install 'metarl_robot\[train\]'"):
        load_family("half-cheetah-direction").env(1.0)
