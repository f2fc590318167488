# SPDX-License-Identifier: Apache-2.0
"""Transitions of all episodes so far, and windows of them: M transitions to adapt to, K after them to predict."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from metarl_robot.control.adaptive_model import Scaling
from metarl_robot.learning.grbal.episodes import Episodes
from metarl_robot.learning.models.maml import TaskBatch

Array = NDArray[np.float64]
Array32 = NDArray[np.float32]

_SMALLEST_STD = 1e-6


@dataclass(frozen=True)
class Transitions:
    """E episodes of T steps: observations (E, T + 1, n) and actions (E, T, nu)."""

    observations: Array32
    actions: Array32

    @staticmethod
    def of(episodes: Episodes) -> Transitions:
        return Transitions(episodes.observations.astype(np.float32), episodes.actions.astype(np.float32))

    def with_more(self, more: Transitions) -> Transitions:
        """These and further episodes."""
        return Transitions(
            np.concatenate([self.observations, more.observations]), np.concatenate([self.actions, more.actions])
        )

    @property
    def count(self) -> int:
        return self.actions.shape[0] * self.actions.shape[1]

    def scaling(self) -> Scaling:
        """Mean and standard deviations over all transitions."""
        states = self.observations.reshape(-1, self.observations.shape[-1]).astype(np.float64)
        changes = np.diff(self.observations.astype(np.float64), axis=1).reshape(-1, states.shape[-1])
        spread, change = (np.maximum(values.std(axis=0), _SMALLEST_STD) for values in (states, changes))
        return Scaling(states.mean(axis=0), spread, change)

    def sha256(self) -> str:
        """Hash of all numbers."""
        content = hashlib.sha256(np.ascontiguousarray(self.observations).tobytes())
        content.update(np.ascontiguousarray(self.actions).tobytes())
        return content.hexdigest()


def draw_windows(
    data: Transitions, scaling: Scaling, memory: int, predicted: int, size: int, rng: np.random.Generator
) -> TaskBatch:
    """Windows at random places of random episodes, as support (M) and query (K) of a meta-gradient."""
    episodes, steps, _ = data.actions.shape
    episode = rng.integers(episodes, size=size)[:, None]
    start = rng.integers(steps - memory - predicted + 1, size=size)[:, None]
    k = start + np.arange(memory + predicted)
    states, following = (data.observations[episode, at].astype(np.float64) for at in (k, k + 1))
    x = torch.from_numpy(scaling.inputs(states, data.actions[episode, k]).astype(np.float32))
    y = torch.from_numpy(scaling.targets(states, following).astype(np.float32))
    return TaskBatch(
        x[:, :memory].contiguous(),
        y[:, :memory].contiguous(),
        torch.ones(size, memory),
        x[:, memory:].contiguous(),
        y[:, memory:].contiguous(),
    )


def whole(batch: TaskBatch) -> TaskBatch:
    """All transitions of the windows as query, for training that does not adapt."""
    return batch._replace(
        query_x=torch.cat([batch.x, batch.query_x], dim=1), query_y=torch.cat([batch.y, batch.query_y], dim=1)
    )
