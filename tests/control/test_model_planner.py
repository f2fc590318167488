# SPDX-License-Identifier: Apache-2.0
"""Planning of a reward with a model: both planners steer, keep their bounds and repeat themselves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from metarl_robot.control.model_planner import ModelPlanner, Planning
from metarl_robot.control.mppi import Bounds
from metarl_robot.control.random_shooting import RandomShooting

Array = NDArray[np.float64]


def double_integrator(states: Array, actions: Array) -> Array:
    velocity = states[:, 1:] + 0.1 * actions
    return np.concatenate([states[:, :1] + 0.1 * velocity, velocity], axis=1)


def closeness(states: Array, actions: Array, following: Array) -> Array:
    return np.asarray(-np.square(following[..., 0]) - 0.1 * np.square(following[..., 1]))


@pytest.fixture(params=("mppi", "random_shooting"))
def planner(request: pytest.FixtureRequest) -> ModelPlanner:
    return ModelPlanner(Planning(request.param, 10, 128), 1, double_integrator, closeness, 1000)


def driven(planner: ModelPlanner, steps: int) -> tuple[Array, Array]:
    state, states, actions = np.array([1.0, 0.0]), [], []
    for _ in range(steps):
        actions.append(planner.act(state))
        state = double_integrator(state[None], actions[-1][None])[0]
        states.append(state)
    return np.array(states), np.array(actions)


def test_a_planner_steers_to_the_reward_within_bounds(planner: ModelPlanner) -> None:
    states, actions = driven(planner, 60)
    assert np.abs(actions).max() <= 1.0
    assert np.abs(states[-20:, 0]).mean() < 0.15, "from a distance of 1"


def test_a_reset_planner_repeats_itself(planner: ModelPlanner) -> None:
    first = driven(planner, 5)[1]
    assert not np.array_equal(driven(planner, 5)[1], first)
    planner.reset()
    np.testing.assert_array_equal(driven(planner, 5)[1], first)


@pytest.mark.parametrize("method", ("mppi", "random_shooting"))
def test_where_no_plan_has_a_finite_return_the_last_one_stays(method: Any) -> None:
    broken = ModelPlanner(Planning(method, 5, 16), 2, lambda s, a: np.full_like(s, np.nan), closeness, 0)
    np.testing.assert_array_equal(broken.act(np.zeros(2)), [0.0, 0.0])


def test_random_shooting_takes_the_best_of_its_plans() -> None:
    drawn: list[Array] = []

    def cost(states: Array, plans: Array) -> Array:
        drawn.append(plans)
        return np.abs(plans[0, :, 0] - 0.3)

    bounds = Bounds(np.full((4, 2), -2.0), np.full((4, 2), 0.5))
    found = RandomShooting(50, 7, lambda s, a, k: s, cost).improve(np.zeros(1), np.zeros((4, 2)), bounds)
    (plans,) = drawn
    best = plans[:, np.argmin(np.abs(plans[0, :, 0] - 0.3))]
    assert found.optimal
    np.testing.assert_array_equal(found.inputs, best)
    assert plans.min() >= -2.0 and plans.max() <= 0.5 and plans.min() < -1.8 and plans.max() > 0.4
