# SPDX-License-Identifier: Apache-2.0
"""RL²: the same policy in torch and numpy, trials of several episodes, and learning that needs memory."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces

from metarl_robot.control.policy_layout import recurrent_inputs
from metarl_robot.control.policy_network import Recurrent
from metarl_robot.learning.policies.algorithm import make_algorithm, sampler_of
from metarl_robot.learning.policies.config import PolicyConfig
from metarl_robot.learning.policies.evaluate import scores_by_step
from metarl_robot.learning.policies.family import Family
from metarl_robot.learning.policies.recurrent import RecurrentPolicy
from metarl_robot.learning.policies.trials import collect_trials
from metarl_robot.sim.families.point_navigation import FAMILY


def policy(observations: int, actions: int, hidden: tuple[int, ...]) -> RecurrentPolicy:
    made = RecurrentPolicy(observations, actions, hidden)
    generator = torch.Generator().manual_seed(1000)
    made.draw(generator, 0.7)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return made


def network(of: RecurrentPolicy) -> Recurrent:
    return Recurrent({name: p.detach().numpy() for name, p in zip(of.shapes, of.ordered(), strict=True)})


@pytest.mark.parametrize("hidden", [(5,), (7, 4)])
def test_numpy_and_torch_give_the_same_mean_actions(hidden: tuple[int, ...]) -> None:
    """Over 20 steps, in which the state of one policy of three is held."""
    theirs = policy(3, 2, hidden)
    ours = network(theirs)
    assert {name: tuple(p.shape) for name, p in theirs.named_parameters()} == theirs.shapes
    rng = np.random.default_rng(1001)
    x = rng.normal(size=(3, 20, recurrent_inputs(3, 2))).astype(np.float32)
    ours.reset(3)
    found = np.stack([ours.advance(x[:, t]) for t in range(20)], axis=1)
    with torch.no_grad():
        expected = theirs(torch.from_numpy(x))[0].mean.numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.abs(found[:, 0] - found[:, -1]).max() > 0.01
    ours.reset(3)
    ours.advance(x[:, 0])
    ours.advance(x[:, 1], np.array([True, False, True]))
    np.testing.assert_allclose(ours.advance(x[:, 1])[1], expected[1, 1], atol=1e-5)


def test_the_steps_of_a_trial_follow_each_other_without_gaps() -> None:
    """Points that walk 0.05 both ways: one arrives in its 4th step, the other never does."""
    still = policy(2, 2, (4,))
    with torch.no_grad():
        still.action.weight.zero_()
        still.action.bias.fill_(0.5)
    goals = [np.array([0.2, 0.2], dtype=np.float32), np.array([-0.4, 0.3], dtype=np.float32)]
    found = collect_trials(FAMILY, goals, 3, network(still), np.zeros(2), np.random.default_rng(0))
    assert found.alive.sum(1).tolist() == [12.0, 300.0] and found.inputs.shape == (2, 300, 6)
    assert np.all(np.diff(found.alive, axis=1) <= 0.0)
    starts = found.inputs[..., -1] * found.alive
    assert np.flatnonzero(starts[0]).tolist() == [0, 4, 8] and np.flatnonzero(starts[1]).tolist() == [0, 100, 200]
    np.testing.assert_allclose(found.returns.sum(1), (found.rewards * found.alive).sum(1), rtol=1e-5)
    np.testing.assert_allclose(found.returns[0], -np.sqrt(2.0) * 0.05 * 6 * np.ones(3), rtol=1e-5)
    np.testing.assert_array_equal(found.inputs[:, 1:12, -2], found.rewards[:, :11])  # last reward
    np.testing.assert_array_equal(found.inputs[:, 1:12, 2:4], np.clip(found.actions[:, :11], -1.0, 1.0))  # last action


class Guess(gymnasium.Env[Any, Any]):
    """The reward says how far the action is from a hidden side, -1 or 1; nothing else can be observed."""

    observation_space, action_space = spaces.Box(-1.0, 1.0, (1,)), spaces.Box(-1.0, 1.0, (1,))

    def __init__(self, side: float) -> None:
        self._side = side

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        return np.zeros(1, dtype=np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        return np.zeros(1, dtype=np.float32), -abs(float(action[0]) - self._side), False, False, {}


class Guesses(Family):
    name, horizon = "guesses", 6

    def sample_task(self, rng: np.random.Generator) -> float:
        return float(rng.choice((-1.0, 1.0)))

    def env(self, task: float) -> Guess:
        return Guess(task)


def test_rl2_learns_what_only_memory_can_know() -> None:
    """Without memory no policy is better than -1 a step: -6 in an episode, before and after."""
    config = PolicyConfig(
        algo="rl2", iterations=60, tasks=16, episodes=2, hidden=(16,), first_std=0.5, ppo_rate=0.01, discount=0.9
    )
    sampler = sampler_of(Guesses(), config)
    algorithm = make_algorithm(sampler)
    rng = np.random.default_rng(1002)
    for _ in range(config.iterations):
        algorithm.step(rng)
    first, second = scores_by_step(sampler, algorithm.parameters, 1.0, 1, 20, 4, rng).returns.mean((1, 2))
    assert first > -5.0 and second > -3.0 and second > first + 0.5
