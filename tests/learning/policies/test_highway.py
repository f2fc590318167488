# SPDX-License-Identifier: Apache-2.0
"""highway-env's racetrack with unknown cars: mass and tyres act as stated, obstacles block lanes, and it is learned."""

from __future__ import annotations

import sys
from typing import Any

import gymnasium
import numpy as np
import pytest

from metarl_robot.core.errors import MetaRLError
from metarl_robot.learning.policies.algorithm import make_algorithm, sampler_of
from metarl_robot.learning.policies.config import PolicyConfig
from metarl_robot.learning.policies.family import load_family, sizes_of
from metarl_robot.sim.families.highway import (
    FAMILY,
    HEAVIEST,
    HORIZON,
    LIGHTEST,
    PLAIN,
    SEEN_M,
    STRONGEST,
    WEAKEST,
    Car,
    HighwayFamily,
)

SPEED_M_S, LENGTH_M = 10.0, 5.0
UNDERSTEERS, OVERSTEERS = Car(HEAVIEST, WEAKEST, STRONGEST), Car(HEAVIEST, STRONGEST, WEAKEST)
STRAIGHT = np.zeros(1, dtype=np.float32)


class PlainCars(HighwayFamily):
    """highway-env's own car without obstacles."""

    horizon = 40

    def sample_task(self, rng: np.random.Generator) -> Car:
        return PLAIN


@pytest.fixture(autouse=True)
def highway() -> None:
    pytest.importorskip("highway_env", reason="needs the extra [highway]: pip install 'metarl_robot[highway]'")


def steered(seen: Any, gain: float = 1.0) -> Any:
    """Action of a hand-made law that changes to the lane with more free length."""
    across, *turns, _, yaw_rate, free_0, free_1 = seen.tolist()
    lane = 0.5 * np.sign(free_1 - free_0) if abs(free_1 - free_0) > 0.01 else 0.5 * np.sign(across)
    aside_m = np.clip(LENGTH_M * (lane - across), -2.5, 2.5)
    return np.clip(np.array([gain * (0.5 * turns[2] + 0.08 * aside_m - 0.15 * yaw_rate) / (np.pi / 4)]), -1.0, 1.0)


def driven(car: Car, gain: float = 1.0, seed: int = 8) -> tuple[int, bool]:
    """Number of steps until the end of an episode, and whether it was a success."""
    env = FAMILY.env(car)
    seen, _ = env.reset(seed=seed)
    for step in range(HORIZON):
        seen, _, ended, late, info = env.step(steered(seen, gain))
        if ended or late:
            return step + 1, info["success"]
    raise AssertionError("an episode has at most HORIZON steps")


def test_the_plain_car_drives_as_in_highway_env() -> None:
    ours = FAMILY.env(PLAIN)
    config = {
        "action": {"type": "ContinuousAction", "longitudinal": False, "lateral": True, "dynamical": True},
        "other_vehicles": 0,
    }
    theirs = gymnasium.make("racetrack-v1", config=config)
    ours.reset(seed=5)
    theirs.reset(seed=5)
    rng, track = np.random.default_rng(1000), [env.unwrapped for env in (ours, theirs)]
    for _ in range(HORIZON):
        action = rng.uniform(-0.1, 0.1, 1).astype(np.float32)
        found, expected = ours.step(action), theirs.step(action)
        np.testing.assert_array_equal(*(env.vehicle.state for env in track))  # type: ignore[attr-defined]
        assert found[1:3] == (expected[1], expected[2])
        if found[2]:
            break
    assert found[2] and not found[4]["success"], "it has left the road"


@pytest.mark.parametrize("car", [PLAIN, UNDERSTEERS, OVERSTEERS])
def test_a_car_turns_as_its_mass_and_tyres_say(car: Car) -> None:
    """Steady yaw rate v δ / (l + K v²) with K = m / 4 (1 / C_f - 1 / C_r), axles with two tyres, half a car apart."""
    env = FAMILY.env(car)
    env.reset(seed=1000)
    vehicle: Any = env.unwrapped.vehicle  # type: ignore[attr-defined]
    vehicle.act({"steering": 0.005, "acceleration": 0.0})
    for _ in range(300):
        vehicle.step(1.0 / 15.0)
    gradient = car.mass / 4.0 * (1.0 / car.front - 1.0 / car.rear)
    assert vehicle.yaw_rate == pytest.approx(SPEED_M_S * 0.005 / (LENGTH_M + gradient * SPEED_M_S**2), rel=0.01)


def test_the_steering_that_suits_one_car_does_not_suit_another() -> None:
    """Two of the family's tasks: one needs a larger gain, with which the other leaves the road."""
    one, other = (FAMILY.sample_task(np.random.default_rng(seed)) for seed in (1001, 1002))
    assert driven(one, 1.5) == (HORIZON, True) and not driven(one, 1.0)[1]
    assert driven(other, 1.0) == (HORIZON, True) and driven(other, 1.5)[0] < 40


def test_obstacles_block_their_lane_and_are_seen() -> None:
    env = FAMILY.env(Car(1.0, 15.0, 15.0, ((57.0, 0), (57.0, 1))))
    seen, _ = env.reset(seed=1000)
    free, ended = seen[-2:], False
    assert free[0] == free[1] and 0.0 < free[0] < 37.0 / SEEN_M + 1e-6
    for _ in range(20):
        seen, _, ended, late, info = env.step(STRAIGHT)
        np.testing.assert_allclose(seen[-2:], free - 0.2 * SPEED_M_S / SEEN_M, atol=1e-3)
        free = seen[-2:]
        if ended:
            break
    assert ended and not late and not info["success"] and env.unwrapped.vehicle.crashed  # type: ignore[attr-defined]
    assert free[0] * SEEN_M == pytest.approx(3.5, abs=2.1), "bumper to bumper, or a step of 2 m later"


def test_tasks_differ_within_their_ranges_and_their_obstacles_leave_room() -> None:
    rng = np.random.default_rng(1000)
    cars = [FAMILY.sample_task(rng) for _ in range(300)]
    numbers = np.array([car[:3] for car in cars])
    assert (numbers >= (LIGHTEST, WEAKEST, WEAKEST)).all() and (numbers <= (HEAVIEST, STRONGEST, STRONGEST)).all()
    places = [np.array(car.obstacles)[:, 0] for car in cars]
    assert min(np.diff(place).min() for place in places) >= 30.0
    assert {lane for car in cars for _, lane in car.obstacles} == {0, 1}
    assert cars[0] == FAMILY.sample_task(np.random.default_rng(1000))


def test_it_is_registered_and_many_cars_drive_like_one() -> None:
    family = load_family("highway-racetrack")
    assert sizes_of(family) == (9, 1)
    tasks = [family.sample_task(np.random.default_rng(k)) for k in (1000, 1002)]
    many, single = family.vector_env(tasks), family.env(tasks[1])
    many.reset(seed=7)
    seen, _ = single.reset(seed=8)
    told = False
    for _ in range(HORIZON):
        action = steered(seen).astype(np.float32)
        found = many.step(np.stack([action, action]))
        seen, reward, ended, late, info = single.step(action)
        np.testing.assert_array_equal(found[0][1], seen)
        assert found[1][1] == reward and bool(found[4]["success"][1]) == info["success"]
        told |= info["success"]
        if ended or late:
            break
    assert told and late, "this car passes all obstacles"


@pytest.mark.slow
def test_a_policy_learns_to_stay_on_the_road() -> None:
    config = PolicyConfig(
        algo="pg", seed=1000, tasks=2, episodes=4, hidden=(16,), first_std=0.3, learning_rate=0.03, gae_lambda=0.97
    )
    algorithm = make_algorithm(sampler_of(PlainCars(), config))
    returns = [algorithm.step(np.random.default_rng([1, 1000, i]))["return_before"] for i in range(10)]
    assert returns[0] < 12.0 and returns[-1] > 20.0, returns


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "highway_env", None)
    with pytest.raises(MetaRLError, match=r"highway-env.*pip install 'metarl_robot\[highway\]'"):
        FAMILY.env(PLAIN)
