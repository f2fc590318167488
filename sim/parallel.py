# SPDX-License-Identifier: Apache-2.0
"""Independent jobs in several processes, each limited to one thread in linear algebra."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from multiprocessing import get_context
from typing import TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def run_all(do: Callable[[Job], Result], work: Sequence[Job], jobs: int) -> Iterator[tuple[int, Result]]:
    """Yield (index, result) as jobs end. `do` and the work can be pickled. jobs: processes; 1 runs in this process."""
    if jobs == 1 or not work:
        for index, job in enumerate(work):
            yield index, do(job)
        return
    with _one_thread_each(), ProcessPoolExecutor(min(jobs, len(work)), mp_context=get_context("spawn")) as pool:
        waiting = {pool.submit(do, job): index for index, job in enumerate(work)}
        try:
            for done in as_completed(waiting):
                yield waiting[done], done.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Limit processes started in this context to one thread each in linear algebra."""
    before = {name: os.environ.get(name) for name in _THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(_THREAD_VARIABLES, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
