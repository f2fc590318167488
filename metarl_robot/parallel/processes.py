# SPDX-License-Identifier: Apache-2.0
"""The engine of one machine: several processes, each limited to one thread in linear algebra."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context

from metarl_robot.parallel.engine import Job, Result
from metarl_robot.parallel.environment import environment
from metarl_robot.parallel.interrupts import interrupt_workers, interruptible, interrupts_blocked, until_interrupted

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


@dataclass(frozen=True)
class Processes:
    """See metarl_robot.parallel.engine.Engine. jobs: number of processes; 1: all in this process."""

    jobs: int = 1

    def run_all(self, do: Callable[[Job], Result], work: Sequence[Job]) -> Iterator[tuple[int, Result]]:
        if self.jobs == 1 or not work:
            for index, job in enumerate(work):
                yield index, do(job)
            return
        processes = min(self.jobs, len(work))
        context = get_context("spawn")
        with (
            environment(ONE_THREAD),
            ProcessPoolExecutor(processes, mp_context=context, initializer=until_interrupted) as pool,
        ):
            with interrupts_blocked():
                waiting = {pool.submit(interruptible, do, job): index for index, job in enumerate(work)}
            try:
                for done in as_completed(waiting):
                    yield waiting[done], done.result()
            except (KeyboardInterrupt, GeneratorExit):
                interrupt_workers()
                raise
            finally:
                pool.shutdown(wait=True, cancel_futures=True)
