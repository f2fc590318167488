# SPDX-License-Identifier: Apache-2.0
"""Collects trials (trials.py) for RLlib: an episode of RLlib is a trial, its observations are the policy's inputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import gymnasium
import numpy as np
from numpy.typing import NDArray
from ray.rllib.core import COMPONENT_RL_MODULE, DEFAULT_MODULE_ID
from ray.rllib.core.columns import Columns
from ray.rllib.env import INPUT_ENV_SINGLE_SPACES, INPUT_ENV_SPACES
from ray.rllib.env.env_runner import EnvRunner
from ray.rllib.env.single_agent_episode import SingleAgentEpisode
from ray.rllib.utils.metrics import NUM_ENV_STEPS_SAMPLED, NUM_ENV_STEPS_SAMPLED_LIFETIME

from metarl_robot.control.policy_layout import recurrent_inputs
from metarl_robot.control.policy_network import Recurrent
from metarl_robot.learning.policies.config import PolicyConfig
from metarl_robot.learning.policies.family import Family, Sizes
from metarl_robot.learning.policies.threads import limited_threads
from metarl_robot.learning.policies.trials import Trials, collect_trials

Array = NDArray[Any]

PREFIX = "policy."
"""Of the policy's parameters in the state of the RLlib module."""


class Collection(NamedTuple):
    """What a runner collects, as data for another process. sizes: of the family."""

    family: Family
    sizes: Sizes
    config: PolicyConfig


class TrialRunner(EnvRunner):
    """Runs its share of an iteration's tasks with the policy in numpy.

    returns: (N, E) of the iteration's episodes.
    """

    def __init__(self, *, config: Any, **kwargs: Any) -> None:
        super().__init__(config=config, **kwargs)
        self._collection: Collection = config.env_config["collection"]
        self._index, self._runners = max((self.worker_index or 0) - 1, 0), max(self.num_workers, 1)
        self._parameters: dict[str, Array] = {}
        self.begin(0, 1.0)

    def begin(self, seed: int, reward_scale: float) -> None:
        """Prepare an iteration. reward_scale: RLlib's rewards are divided by it."""
        self._seed_of_iteration, self._reward_scale = seed, reward_scale
        self.returns: Array = np.empty((0, self._collection.config.trial_episodes))

    def sample(self, **kwargs: Any) -> list[SingleAgentEpisode]:
        """A trial for each episode of its tasks. RLlib asks again where the trials were too short for one batch."""
        family, sizes, config = self._collection
        seed = self._seed_of_iteration, len(self.returns)
        drawn = family.tasks(np.random.default_rng(seed), config.tasks)
        tasks = [task for task in drawn[self._index :: self._runners] for _ in range(config.episodes)]
        rng, std = np.random.default_rng([*seed, 1 + self._index]), np.exp(self._parameters["log_std"])
        with limited_threads(config.threads):
            trials = collect_trials(family, tasks, config.trial_episodes, Recurrent(self._parameters), std, rng)
        self.returns = np.concatenate([self.returns, trials.returns])
        steps = int(trials.alive.sum())
        self.metrics.log_value(NUM_ENV_STEPS_SAMPLED, steps, reduce="sum")
        self.metrics.log_value(NUM_ENV_STEPS_SAMPLED_LIFETIME, steps, reduce="lifetime_sum")
        return _episodes(trials, self._parameters["log_std"], self._reward_scale, spaces_of(sizes))

    def get_metrics(self) -> Any:
        return self.metrics.reduce()

    def get_spaces(self) -> dict[str, tuple[gymnasium.Space[Any], gymnasium.Space[Any]]]:
        pair = spaces_of(self._collection.sizes)
        return {INPUT_ENV_SPACES: pair, INPUT_ENV_SINGLE_SPACES: pair, DEFAULT_MODULE_ID: pair}

    def get_state(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        return {
            COMPONENT_RL_MODULE: {PREFIX + name: value for name, value in self._parameters.items()},
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Take new parameters."""
        module = state.get(COMPONENT_RL_MODULE)
        if module is not None:
            import ray

            module = ray.get(module) if isinstance(module, ray.ObjectRef) else module
            self._parameters = parameters_of(module.get(DEFAULT_MODULE_ID, module))

    def assert_healthy(self) -> None:
        """Nothing can be missing after the constructor."""


def spaces_of(sizes: Sizes) -> tuple[gymnasium.spaces.Box, gymnasium.spaces.Box]:
    """Spaces of RLlib's observations, which are the policy's inputs, and of its actions, before clipping."""
    widths = recurrent_inputs(*sizes), sizes.actions
    seen, acted = (gymnasium.spaces.Box(-np.inf, np.inf, (width,), np.float32) for width in widths)
    return seen, acted


def parameters_of(module: Mapping[str, Any]) -> dict[str, Array]:
    """The policy's parameters in the state of the RLlib module."""
    return {name.removeprefix(PREFIX): np.asarray(value) for name, value in module.items()}


def _episodes(trials: Trials, log_std: Array, reward_scale: float, spaces: tuple[Any, Any]) -> list[SingleAgentEpisode]:
    """Trials as RLlib's episodes, with the distributions that their actions were drawn from."""
    log_std = np.broadcast_to(log_std, trials.actions.shape)
    noise = (trials.actions - trials.means) * np.exp(-log_std)
    log_prob = (-0.5 * noise**2 - log_std - 0.5 * np.log(2.0 * np.pi)).sum(-1)
    logits = np.concatenate([trials.means, log_std], axis=-1)
    return [
        SingleAgentEpisode(
            observations=[*trials.inputs[i, :n], trials.inputs[i, n - 1]],  # the last one has no action
            observation_space=spaces[0],
            actions=list(trials.actions[i, :n]),
            action_space=spaces[1],
            rewards=list(trials.rewards[i, :n] / reward_scale),
            terminated=True,
            extra_model_outputs={
                Columns.ACTION_DIST_INPUTS: list(logits[i, :n].astype(np.float32)),
                Columns.ACTION_LOGP: list(log_prob[i, :n].astype(np.float32)),
            },
            len_lookback_buffer=0,
        ).to_numpy()
        for i, n in enumerate(trials.alive.sum(1).astype(int))
    ]
