# SPDX-License-Identifier: Apache-2.0
"""Advantages: generalised advantage estimation with the linear feature baseline.

Baseline of Duan, Chen, Houthooft, Schulman, Abbeel (2016), as in the MAML paper: for each task a ridge regression of
the discounted return on [s, s², t/100, (t/100)², (t/100)³, 1], with s clipped to ±10. Advantages of Schulman, Moritz,
Levine, Jordan, Abbeel (2016):

    δ_t = r_t + γ V(s_{t+1}) - V(s_t)      A_t = Σ_k (γ λ)^k δ_{t+k}      V = 0 after the end of an episode

They are scaled to mean 0 and standard deviation 1 within each task.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metarl_robot.learning.policies.episodes import Episodes

Array = NDArray[np.float64]

_CLIP = 10.0
_TIME = 100.0
_RIDGE = 1e-5


def advantages(episodes: Episodes, discount: float, gae_lambda: float) -> Array:
    """Advantages (B, E, T); zero after the end of an episode."""
    alive = episodes.alive.astype(float)
    rewards = episodes.rewards.astype(float)
    values = _values(episodes, summed(rewards, discount)) * alive
    following = np.concatenate([values[..., 1:], np.zeros_like(values[..., :1])], axis=-1)
    raw = summed((rewards + discount * following - values) * alive, discount * gae_lambda) * alive
    count = alive.sum((1, 2), keepdims=True)
    mean = raw.sum((1, 2), keepdims=True) / count
    centred = (raw - mean) * alive
    return centred / (np.sqrt((centred**2).sum((1, 2), keepdims=True) / count) + 1e-8)


def summed(series: Array, factor: float) -> Array:
    """Discounted sums (…, T) from each step to the end."""
    result = np.array(series)
    for t in range(result.shape[-1] - 2, -1, -1):
        result[..., t] += factor * result[..., t + 1]
    return result


def _values(episodes: Episodes, returns: Array) -> Array:
    """The baseline's prediction of the returns (B, E, T)."""
    tasks, count, horizon, _ = episodes.observations.shape
    seen = np.clip(episodes.observations.astype(float), -_CLIP, _CLIP)
    time = np.broadcast_to(np.arange(horizon)[:, None] / _TIME, (tasks, count, horizon, 1))
    features = np.concatenate([seen, seen**2, time, time**2, time**3, np.ones_like(time)], axis=-1)
    flat = features.reshape(tasks, count * horizon, -1)
    weighted = flat * episodes.alive.reshape(tasks, -1, 1)
    gram = weighted.swapaxes(1, 2) @ flat + _RIDGE * np.eye(flat.shape[-1])
    weights = np.linalg.solve(gram, weighted.swapaxes(1, 2) @ returns.reshape(tasks, -1, 1))
    return (flat @ weights).reshape(tasks, count, horizon)
