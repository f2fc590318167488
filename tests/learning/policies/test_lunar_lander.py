# SPDX-License-Identifier: Apache-2.0
"""LunarLander whose rules change: each rule acts as stated, and unchanged rules are Gymnasium's game."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest

from metarl_robot.core.errors import MetaRLError
from metarl_robot.learning.policies.family import load_family, sizes_of
from metarl_robot.sim.families.lunar_lander import FAMILY, HIGHEST, HORIZON, LOWEST, Rules

PLAIN = Rules(-10.0, 0.0, 1.0)
STEP_S = 0.02
COAST, CLIMB, TURN = np.array([0.0, 0.0]), np.array([1.0, 0.0]), np.array([0.0, 1.0])


@pytest.fixture(autouse=True)
def box2d() -> None:
    pytest.importorskip("Box2D", reason="needs the extra [games]: pip install 'metarl_robot[games]'")


def flown(rules: Rules, action: Any, resets: int = 1, seed: int = 1000) -> Any:
    """Velocities of the lander one step after the start of an episode: (x, y, turning)."""
    env = FAMILY.env(rules)
    for _ in range(resets):
        env.reset(seed=seed)
    env.step(action)
    body: Any = env.unwrapped.lander  # type: ignore[attr-defined]
    return np.array([*body.linearVelocity, body.angularVelocity])


def test_unchanged_rules_are_gymnasiums() -> None:
    ours, theirs = FAMILY.env(PLAIN), gymnasium.make("LunarLander-v3", continuous=True, max_episode_steps=HORIZON)
    rng = np.random.default_rng(1000)
    np.testing.assert_array_equal(ours.reset(seed=5)[0], theirs.reset(seed=5)[0])
    for _ in range(HORIZON):
        action = rng.uniform(-1.0, 1.0, 2).astype(np.float32)
        found, expected = ours.step(action), theirs.step(action)
        np.testing.assert_array_equal(found[0], expected[0])
        assert found[1:4] == expected[1:4]
        if found[2]:
            break
    assert found[2], "it has crashed"


@pytest.mark.parametrize("action", [CLIMB, TURN])
@pytest.mark.parametrize("strength", [0.75, 1.25])
def test_engines_push_by_their_strength_in_every_episode(action: Any, strength: float) -> None:
    coasting = flown(PLAIN, COAST)
    plain, changed = flown(PLAIN, action) - coasting, flown(Rules(-10.0, 0.0, strength), action, resets=2) - coasting
    assert np.abs(plain).max() > 0.01
    # the legs' joints, solved by iteration, share the impulse with the body
    np.testing.assert_allclose(changed, strength * plain, atol=0.02 * np.abs(plain).max())


def test_gravity_is_that_of_the_task() -> None:
    fall = [flown(Rules(gravity, 0.0, 1.0), COAST)[1] for gravity in (-10.0, -4.0)]
    assert fall[1] - fall[0] == pytest.approx(2 * 6.0 * STEP_S, rel=1e-3)  # a reset makes the first step


def test_wind_blows_until_a_leg_touches_the_ground() -> None:
    env = FAMILY.env(Rules(-10.0, 8.0, 1.0))
    env.reset(seed=1000)
    game: Any = env.unwrapped
    mass = game.lander.mass + sum(leg.mass for leg in game.legs)
    blown = flown(Rules(-10.0, 8.0, 1.0), COAST) - flown(PLAIN, COAST)
    assert blown[0] == pytest.approx(8.0 * STEP_S / mass, rel=0.02)
    pushes = []
    game.lander.ApplyForceToCenter = lambda force, wake: pushes.append((force, wake))
    env.step(COAST)
    game.legs[1].ground_contact = True
    env.step(COAST)
    assert pushes == [((8.0, 0.0), True)]


def test_tasks_differ_within_their_ranges_and_can_be_flown() -> None:
    rng = np.random.default_rng(1000)
    tasks = np.array([FAMILY.sample_task(rng) for _ in range(2000)])
    assert (tasks >= LOWEST).all() and (tasks <= HIGHEST).all()
    np.testing.assert_allclose(tasks.min(0), LOWEST, atol=0.05)
    np.testing.assert_allclose(tasks.max(0), HIGHEST, atol=0.05)
    weakest = Rules(LOWEST.gravity, 0.0, LOWEST.engines)
    climbs = [flown(weakest, CLIMB, seed=seed) - flown(weakest, COAST, seed=seed) for seed in range(1000, 1100)]
    lift = np.mean(climbs, axis=0)[1] / STEP_S
    assert lift == pytest.approx(-1.31 * LOWEST.gravity, rel=0.06)  # its impulses vary by half: 3 % of this mean


def test_it_is_registered_and_many_landers_fly_like_one() -> None:
    family = load_family("lunar-lander")
    assert sizes_of(family) == (8, 2)
    tasks = [family.sample_task(np.random.default_rng(k)) for k in (1000, 1001)]
    many, single = family.vector_env(tasks), family.env(tasks[1])
    many.reset(seed=7)
    single.reset(seed=8)
    for _ in range(50):
        seen, rewards, *_ = many.step(np.array([CLIMB, TURN]))
        expected, reward, *_ = single.step(TURN.astype(np.float32))
        np.testing.assert_array_equal(seen[1], expected)
        assert rewards[1] == reward


def test_without_the_physics_engine_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*given: Any, **named: Any) -> None:
        raise gymnasium.error.DependencyNotInstalled("no Box2D")

    monkeypatch.setattr(gymnasium, "make", missing)
    with pytest.raises(MetaRLError, match=r"gymnasium\[box2d\].*pip install 'metarl_robot\[games\]'"):
        FAMILY.env(PLAIN)
