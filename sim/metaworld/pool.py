# SPDX-License-Identifier: Apache-2.0
"""The worker processes that this process has started.

They are started once and keep their environments, because making one takes up to half a second.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Sequence
from itertools import count

from metarl_robot.core.errors import shown
from metarl_robot.sim.metaworld.process import MetaWorldError, Worker

SIZE = "METARL_METAWORLD_WORKERS"
"""Environment variable: worker processes of each process. 1 on a Ray cluster, where Ray shares out the processors."""
_MOST = 1024


class Pool:
    """Workers. After an error of one all are ended, so that no answer is taken for that to another message.

    Arguments:
        size: number of processes.

    Raises:
        MetaWorldError: `make metaworld` was not run.
    """

    def __init__(self, size: int) -> None:
        self.workers: list[Worker] = []
        self.usable = True
        self.numbers = count()
        """Numbers of groups of environments."""
        self.unused: list[tuple[int, int]] = []
        """(number, workers) of groups that can be closed."""
        try:
            for _ in range(size):
                self.workers.append(Worker())
        except BaseException:
            self.close()
            raise

    def exchange(self, letter: bytes, payloads: Sequence[bytes]) -> list[bytes]:
        """Send a message to each of the first workers, which work on them side by side; returns the answers.

        Raises:
            MetaWorldError: a worker stopped or reports an error.
        """
        if not self.usable:
            raise MetaWorldError("the worker processes of Meta-World have ended")
        asked = self.workers[: len(payloads)]
        try:
            for worker, payload in zip(asked, payloads, strict=True):
                worker.send(letter, payload)
            return [worker.answer(letter) for worker in asked]
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End all workers; also a second time."""
        self.usable = False
        for worker in self.workers:
            worker.close()


_POOLS: dict[int, Pool] = {}
"""By process, because a forked one must not use its parent's."""


def pool() -> Pool:
    """This process's workers."""
    found = _POOLS.get(os.getpid())
    if found is None or not found.usable:
        found = _POOLS[os.getpid()] = Pool(_size())
        atexit.register(found.close)
    return found


def _size() -> int:
    """One worker for each processor that this process may use, unless the variable SIZE says otherwise.

    Raises:
        MetaWorldError: the variable is not a number of processes.
    """
    given = os.environ.get(SIZE, "")
    if not given:
        return len(os.sched_getaffinity(0))
    if not (given.isascii() and given.isdigit() and 0 < int(given) <= _MOST):
        raise MetaWorldError(f"{SIZE}: {shown(given)} is not a number of processes; allowed: 1 to {_MOST}")
    return int(given)
