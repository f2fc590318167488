# SPDX-License-Identifier: Apache-2.0
"""RL² (Duan et al. 2016): a recurrent policy that adapts by its state, trained by proximal policy optimisation.

PPO (Schulman, Wolski, Dhariwal, Radford, Klimov 2017) on whole trials (trials.py), with a value from the same
recurrent state and generalised advantages (Schulman et al. 2016):

    maximise   mean of min(ρ A, clip(ρ, 1 ± ε) A) - c (V - G)²      ρ = π_θ(a | x) / π_old(a | x)

A trial's return is that of all its episodes, so that exploration in the first one pays. Values and their targets G are
in units of the standard deviation of the first iteration's returns.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metarl_robot.control.policy_network import Recurrent
from metarl_robot.learning.policies.adam_state import adam_state, restore_adam
from metarl_robot.learning.policies.algorithm import Metrics
from metarl_robot.learning.policies.baseline import summed
from metarl_robot.learning.policies.episodes import Scores, scores
from metarl_robot.learning.policies.gaussian import Parameters
from metarl_robot.learning.policies.recurrent import RecurrentPolicy
from metarl_robot.learning.policies.sampling import NotFiniteError, Sampler
from metarl_robot.learning.policies.trials import Trials, collect_trials

Array = NDArray[np.float64]

CLIP = 0.2
EPOCHS = 4
PARTS = 4
"""Parts of the trials, for one gradient step each."""
VALUE_WEIGHT = 0.5
LARGEST_GRADIENT = 0.5


class _Samples(NamedTuple):
    """Trials as tensors: inputs (N, T, k), actions (N, T, m), others (N, T). gain: advantages; target: of values."""

    inputs: Tensor
    actions: Tensor
    alive: Tensor
    log_prob: Tensor
    gain: Tensor
    target: Tensor


class Rl2:
    """The policy, Adam's moments, and one iteration of their training."""

    tunes_rate = False

    def __init__(self, sampler: Sampler) -> None:
        self._sampler, self._config = sampler, sampler.config
        self._policy: RecurrentPolicy = sampler.policy
        self._policy.draw(torch.Generator().manual_seed(self._config.seed), self._config.first_std)
        self._policy.to(sampler.device)
        self._optimiser = torch.optim.Adam(self._policy.ordered(), lr=self._config.ppo_rate)
        self._scale = torch.zeros(2)  # mean and standard deviation of the first returns; 0: none yet

    @property
    def parameters(self) -> Parameters:
        return [parameter.detach() for parameter in self._policy.ordered()]

    def step(self, rng: np.random.Generator) -> Metrics:
        """Collect a trial for each episode of each task, and improve the policy on them."""
        config, before = self._config, self.state()
        tasks = [task for task in self._sampler.draw_tasks(rng, config.tasks) for _ in range(config.episodes)]
        trials = trials_of(self._sampler, self.parameters, tasks, config.trial_episodes, rng)
        samples = self._prepared(trials)
        moved = []
        for _ in range(EPOCHS):
            for part in np.array_split(rng.permutation(len(tasks)), min(PARTS, len(tasks))):
                loss, change = self._loss(_Samples(*(tensor[torch.from_numpy(part)] for tensor in samples)))
                self._optimiser.zero_grad()
                loss.backward()
                size = torch.nn.utils.clip_grad_norm_(self._policy.ordered(), LARGEST_GRADIENT)
                if not torch.isfinite(size):
                    self.restore(before)
                    raise NotFiniteError("a policy gradient is not finite")
                self._optimiser.step()
                moved.append(change)
        means = trials.returns.mean(0)
        later = {"return_after": float(means[-1])} if len(means) > 1 else {}
        return {"return_before": float(means[0]), **later, "kl": moved[-1]}

    def _prepared(self, trials: Trials) -> _Samples:
        device = self._sampler.device
        inputs, actions, alive = (torch.from_numpy(x).to(device) for x in (trials.inputs, trials.actions, trials.alive))
        rewards = trials.rewards.astype(float)
        if not self._scale[1]:
            returns = summed(rewards, self._config.discount)[trials.alive > 0]
            self._scale = torch.tensor([returns.mean(), returns.std() + 1e-6], dtype=torch.float32)
        with torch.no_grad():
            found, values = self._policy(inputs)
            log_prob = found.log_prob(actions)
        mean, std = self._scale.tolist()
        values = (mean + std * values.cpu().numpy().astype(float)) * trials.alive
        gain = self._advantages(rewards, values, trials.alive)
        target = torch.from_numpy((gain + values - mean) / std).float().to(device)
        chosen = gain[trials.alive > 0]
        scaled = torch.from_numpy((gain - chosen.mean()) / (chosen.std() + 1e-8)).float().to(device)
        return _Samples(inputs, actions, alive, log_prob, scaled, target)

    def _advantages(self, rewards: Array, values: Array, alive: Array) -> Array:
        """Generalised advantages (N, T); the value after the end of a trial is 0."""
        config = self._config
        following = np.concatenate([values[:, 1:], np.zeros_like(values[:, :1])], axis=1)
        return summed((rewards + config.discount * following - values) * alive, config.discount * config.gae_lambda)

    def _loss(self, samples: _Samples) -> tuple[Tensor, float]:
        """(loss, mean change of the log-probability) of samples."""
        found, values = self._policy(samples.inputs)
        change = found.log_prob(samples.actions) - samples.log_prob
        ratio = torch.exp(change)
        clipped = torch.clamp(ratio, 1.0 - CLIP, 1.0 + CLIP)
        objective = torch.minimum(ratio * samples.gain, clipped * samples.gain)
        cost = VALUE_WEIGHT * (values - samples.target).square() - objective
        count = samples.alive.sum()
        kl = ((ratio - 1.0 - change) * samples.alive).sum() / count
        return (cost * samples.alive).sum() / count, float(kl.detach())

    def state(self) -> dict[str, Tensor]:
        """All that an iteration changes."""
        return {"value_scale": self._scale.clone(), **adam_state(self._optimiser, self._named())}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Continue from a state."""
        self._scale = state["value_scale"]
        restore_adam(self._optimiser, self._named(), state)

    def _named(self) -> dict[str, Tensor]:
        return dict(zip(self._policy.shapes, self._policy.ordered(), strict=True))


def trials_of(
    sampler: Sampler, parameters: Parameters, tasks: list[object], episodes: int, rng: np.random.Generator
) -> Trials:
    """One trial of each task under a policy. Raises NotFiniteError: a return is NaN or infinite."""
    tensors = dict(zip(sampler.policy.shapes, (p.detach().cpu().numpy() for p in parameters), strict=True))
    std = np.exp(tensors["log_std"])
    trials = collect_trials(sampler.family, tasks, episodes, Recurrent(tensors), std, rng)
    if not np.isfinite(trials.returns).all():
        bad = float(trials.returns[~np.isfinite(trials.returns)][0])
        raise NotFiniteError(f"task family '{sampler.family.name}': an episode's return is {bad}")
    return trials


def scores_by_episode(
    sampler: Sampler, parameters: Parameters, episodes: int, tasks: int, trials: int, rng: np.random.Generator
) -> Scores:
    """Scores of each of a task's trials in each of the consecutive episodes (episodes, tasks, trials)."""
    drawn = [task for task in sampler.draw_tasks(rng, tasks) for _ in range(trials)]
    found = trials_of(sampler, parameters, drawn, episodes, rng)
    returns, fulfilled = (
        np.moveaxis(values.reshape(tasks, trials, episodes), -1, 0) for values in (found.returns, found.fulfilled)
    )
    return scores(sampler.family, returns, fulfilled)
