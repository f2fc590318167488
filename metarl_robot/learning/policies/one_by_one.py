# SPDX-License-Identifier: Apache-2.0
"""Environments that are stepped one after the other, each until the end of its episode."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import Env
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

Array = NDArray[Any]


class OneByOne(VectorEnv[Array, Array, Any]):
    """Environments of one family. One whose episode has ended stands still, with the reward 0, until the next reset.

    Gymnasium's SyncVectorEnv begins a new episode instead, whose steps nobody uses here. A step's info has `success`
    (N,): whether an environment told one.
    """

    metadata = {"autoreset_mode": AutoresetMode.DISABLED}

    def __init__(self, envs: Sequence[Env[Any, Any]]) -> None:
        self._envs, self.num_envs = list(envs), len(envs)
        self.single_observation_space: Any = envs[0].observation_space
        self.single_action_space: Any = envs[0].action_space
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        """Begin an episode of each; seed: of the first, the others have the following ones."""
        seeds = [None if seed is None else seed + i for i in range(self.num_envs)]
        seen = [env.reset(seed=own, options=options)[0] for env, own in zip(self._envs, seeds, strict=True)]
        self._seen = np.array(seen, dtype=self.single_observation_space.dtype)
        self._going = np.ones(self.num_envs, dtype=bool)
        return self._seen.copy(), {}

    def step(self, actions: Array) -> tuple[Array, Array, NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        rewards, ended, late = np.zeros(self.num_envs), ~self._going, np.zeros(self.num_envs, dtype=bool)
        success = np.zeros(self.num_envs, dtype=bool)
        given = np.asarray(actions, dtype=self.single_action_space.dtype)
        for i in np.flatnonzero(self._going):
            self._seen[i], rewards[i], ended[i], late[i], info = self._envs[i].step(given[i])
            success[i] = bool(info.get("success", False))
        self._going = ~(ended | late)
        return self._seen.copy(), rewards, ended, late, {"success": success}

    def close(self, **_: Any) -> None:
        """Close all."""
        for env in self._envs:
            env.close()
