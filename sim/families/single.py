# SPDX-License-Identifier: Apache-2.0
"""One environment from a vectorised one, for families that are only written vectorised; threads of those."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from gymnasium import Env
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

Array = NDArray[np.float64]


_FEW = 8
"""So many robots are stepped by one thread: sharing them out costs more, ten times more on a busy machine."""


def threads_for(count: int) -> int:
    """Threads that step so many robots; the motions do not depend on it."""
    return 1 if count <= _FEW else len(os.sched_getaffinity(0))


class Single(Env[Array, Array]):
    """The only environment of a vectorised one."""

    def __init__(self, many: VectorEnv[Any, Any, Any]) -> None:
        self._many = many
        self.observation_space, self.action_space = many.single_observation_space, many.single_action_space

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        super().reset(seed=seed)
        return self._many.reset(seed=seed)[0][0], {}

    def step(self, action: Array) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        seen, rewards, ended, late, _ = self._many.step(np.asarray(action)[None])
        return seen[0], float(rewards[0]), bool(ended[0]), bool(late[0]), {}
