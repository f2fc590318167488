# SPDX-License-Identifier: Apache-2.0
"""Many environments of Meta-World behind Gymnasium's interface, shared out to worker processes.

The motions do not depend on the number of workers.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from gymnasium.spaces import Box
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from metarl_robot.sim.metaworld.pool import pool

Array = NDArray[np.float64]

HORIZON, ACTIONS = 500, 4
"""Meta-World's. Actions are the shift of the hand along x, y, z [cm] and the effort of the gripper, in [-1, 1]."""
_GROUP = struct.Struct("<I")


class Goal(NamedTuple):
    """A task: the environment's name, and the goal and first places of objects as Meta-World's `rand_vec`."""

    environment: str
    numbers: tuple[float, ...]


class MetaWorldTasks(VectorEnv[Array, Array, Any]):
    """One environment for each task. After an episode all stand still, with reward 0, until the next reset.

    The info of a step holds `success` (N,): whether the task is fulfilled in this step.
    """

    metadata = {"autoreset_mode": AutoresetMode.DISABLED}

    def __init__(self, tasks: Sequence[Goal]) -> None:
        self.num_envs, self._pool = len(tasks), pool()
        workers = min(len(self._pool.workers), len(tasks))
        self._ends = [share[-1] + 1 for share in np.array_split(np.arange(len(tasks)), workers)]
        self._close_unused()
        self._number = next(self._pool.numbers)
        shares = np.split(np.arange(len(tasks)), self._ends[:-1])
        jobs = [json.dumps([self._number, [tasks[i] for i in share]]).encode() for share in shares]
        space = json.loads(self._pool.exchange(b"O", jobs)[0])
        self.single_observation_space = Box(np.array(space["low"]), np.array(space["high"]), dtype=np.float64)
        self.single_action_space = Box(-1.0, 1.0, (ACTIONS,), dtype=np.float32)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._steps = HORIZON

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        """Begin an episode. It always begins in the same state: a task tells the places of all objects."""
        super().reset(seed=seed)
        self._seen, self._steps = self._ask(b"R", [b""] * len(self._ends)), 0
        return self._seen.copy(), {}

    def step(self, actions: Array) -> tuple[Array, Array, NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        never = np.zeros(self.num_envs, dtype=bool)
        if self._steps >= HORIZON:
            return self._seen.copy(), np.zeros(self.num_envs), never, ~never, {"success": never}
        shares = np.split(np.asarray(actions, dtype="<f8").reshape(self.num_envs, ACTIONS), self._ends[:-1])
        rows = self._ask(b"S", [share.tobytes() for share in shares])
        self._seen, self._steps = rows[:, :-2], self._steps + 1
        return self._seen.copy(), rows[:, -2], never, never | (self._steps >= HORIZON), {"success": rows[:, -1] > 0.0}

    def close(self, **_: Any) -> None:
        """Leave the environments to later ones. Sends nothing, because it can be called in the midst of an exchange."""
        if not self.closed:
            self.closed = True
            self._pool.unused.append((self._number, len(self._ends)))

    def _close_unused(self) -> None:
        while self._pool.unused:
            number, workers = self._pool.unused.pop()
            self._pool.exchange(b"C", [_GROUP.pack(number)] * workers)

    def _ask(self, letter: bytes, payloads: Sequence[bytes]) -> Array:
        """Rows (N, k) of the workers' answers."""
        answers = self._pool.exchange(letter, [_GROUP.pack(self._number) + payload for payload in payloads])
        return np.frombuffer(b"".join(answers), dtype="<f8").reshape(self.num_envs, -1).astype(np.float64)
