# SPDX-License-Identifier: Apache-2.0
"""rl2 trained by RLlib's PPO (new API stack): the same trials, network and checkpoints as in rl2.py.

RLlib's learner computes advantages, losses and Adam's steps (rllib_module.py); its runners collect the trials
(rllib_runner.py), on a Ray cluster one for each group of tasks. Rewards are in units of the standard deviation of the
first policy's returns, and the value's first bias is their mean, as in rl2.py.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import ray
import torch
from ray.exceptions import RayError
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from torch import Tensor

from metarl_robot.core.errors import MetaRLError, one_line
from metarl_robot.learning.policies.adam_state import adam_state, restore_adam
from metarl_robot.learning.policies.algorithm import Metrics
from metarl_robot.learning.policies.baseline import summed
from metarl_robot.learning.policies.family import sizes_of
from metarl_robot.learning.policies.gaussian import Parameters
from metarl_robot.learning.policies.recurrent import RecurrentPolicy
from metarl_robot.learning.policies.rl2 import CLIP, EPOCHS, LARGEST_GRADIENT, PARTS, VALUE_WEIGHT, trials_of
from metarl_robot.learning.policies.rllib_module import RecurrentModule
from metarl_robot.learning.policies.rllib_runner import Collection, TrialRunner, spaces_of
from metarl_robot.learning.policies.sampling import NotFiniteError, Sampler
from metarl_robot.parallel.ray_cluster import ClusterError


class RllibPpo:
    """RLlib's algorithm, and one iteration of it."""

    tunes_rate = False

    def __init__(self, sampler: Sampler) -> None:
        """Build it on the Ray cluster that this process has joined (parallel/ray_cluster.py).

        Raises:
            MetaRLError: the cluster has fewer processors than there are groups.
        """
        self._sampler, self._config = sampler, sampler.config
        _check_processors(self._config.groups)
        for name in ("ray", "ray.rllib"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        self._algorithm = _settings(sampler).build_algo()
        _remove(Path(self._algorithm.logdir))
        learner = self._algorithm.learner_group._learner
        self._policy: RecurrentPolicy = learner.module[DEFAULT_MODULE_ID].policy
        self._optimiser = learner.get_optimizer(DEFAULT_MODULE_ID)
        self._reward_scale = torch.zeros(())  # 0: none yet

    @property
    def parameters(self) -> Parameters:
        return [parameter.detach() for parameter in self._policy.ordered()]

    def step(self, rng: np.random.Generator) -> Metrics:
        """Collect a trial for each episode of each task, and improve the policy on them."""
        before, seed = self.state(), int(rng.integers(2**31))
        if not self._reward_scale:
            self._take_scale(rng)
        self._send(seed)
        try:
            with _seeded(seed):
                self._algorithm.train()
            returns = np.concatenate(self._runners(lambda runner: runner.returns))
        except RayError as error:
            raise ClusterError(
                f"a worker of RLlib failed or was lost: {one_line(error)}; go on with --resume"
            ) from error
        if not np.isfinite(returns).all() or not all(torch.isfinite(p).all() for p in self.parameters):
            self.restore(before)
            raise NotFiniteError(f"task family '{self._sampler.family.name}': a return or a weight is not finite")
        means = returns.mean(0)
        return {"return_before": float(means[0]), **({"return_after": float(means[-1])} if len(means) > 1 else {})}

    def _take_scale(self, rng: np.random.Generator) -> None:
        """Set the scale of the rewards and the value's bias from trials of the first policy."""
        config = self._config
        trials = trials_of(
            self._sampler, self.parameters, self._sampler.draw_tasks(rng, config.tasks), config.trial_episodes, rng
        )
        returns = summed(trials.rewards.astype(float), config.discount)[trials.alive > 0]
        std = float(returns.std()) + 1e-6
        self._reward_scale = torch.tensor(std)
        with torch.no_grad():
            self._policy.value.bias.fill_(float(returns.mean()) / std)

    def _send(self, seed: int) -> None:
        """Give the runners what an iteration needs: its seed, the scale of rewards, and the parameters."""
        self._runners(partial(_begin, seed=seed, reward_scale=float(self._reward_scale)))
        self._algorithm.env_runner_group.sync_weights(from_worker_or_learner_group=self._algorithm.learner_group)

    def _runners(self, do: Any) -> list[Any]:
        """Results of a function of each runner that collects."""
        group = self._algorithm.env_runner_group
        found: list[Any] = group.foreach_env_runner(do, local_env_runner=group.num_remote_workers() == 0)
        return found

    def state(self) -> dict[str, Tensor]:
        """All that an iteration changes."""
        return {"reward_scale": self._reward_scale.clone(), **adam_state(self._optimiser, self._named())}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Continue from a state."""
        self._reward_scale = state["reward_scale"]
        restore_adam(self._optimiser, self._named(), state)

    def _named(self) -> dict[str, Tensor]:
        return dict(zip(self._policy.shapes, self._policy.ordered(), strict=True))


def _check_processors(groups: int) -> None:
    """Raise MetaRLError if there are too few for the runners, which would wait for them without end."""
    processors = int(ray.cluster_resources().get("CPU", 0))
    if groups > 1 and processors < groups:
        raise MetaRLError(
            f"--groups is {groups}; allowed with --engine rllib: up to {processors}, the processors of Ray"
        )


def _remove(folder: Path) -> None:
    """Remove RLlib's own folder of logs below the home folder, which stays empty."""
    with suppress(OSError):
        folder.rmdir()
        folder.parent.rmdir()


def _begin(runner: TrialRunner, seed: int, reward_scale: float) -> None:
    runner.begin(seed, reward_scale)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed numpy's global generator, by which RLlib's learner shuffles trials, and restore it."""
    state = np.random.get_state()  # noqa: NPY002
    np.random.seed(seed)  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(state)  # noqa: NPY002


def _settings(sampler: Sampler) -> PPOConfig:
    config, sizes = sampler.config, sizes_of(sampler.family)
    spaces, longest = spaces_of(sizes), config.trial_episodes * sampler.family.horizon + 1
    part = config.tasks * config.episodes * longest // PARTS
    network = {
        **sizes._asdict(),
        "hidden": config.hidden,
        "seed": config.seed,
        "std": config.first_std,
        "max_seq_len": longest,
    }
    return (
        PPOConfig()
        .environment(
            observation_space=spaces[0],
            action_space=spaces[1],
            env_config={"collection": Collection(sampler.family, sizes, config)},
        )
        .env_runners(env_runner_cls=TrialRunner, num_env_runners=config.groups if config.groups > 1 else 0)
        .fault_tolerance(restart_failed_env_runners=False)
        .learners(num_learners=0)
        .rl_module(rl_module_spec=RLModuleSpec(module_class=RecurrentModule, model_config=network))
        .training(
            gamma=config.discount,
            lambda_=config.gae_lambda,
            lr=config.ppo_rate,
            num_epochs=EPOCHS,
            minibatch_size=part,
            train_batch_size_per_learner=part,
            clip_param=CLIP,
            vf_clip_param=float("inf"),
            vf_loss_coeff=VALUE_WEIGHT,
            use_kl_loss=False,
            grad_clip=LARGEST_GRADIENT,
            grad_clip_by="global_norm",
        )
        .debugging(seed=config.seed, log_level="ERROR")
    )
