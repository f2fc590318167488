# SPDX-License-Identifier: Apache-2.0
"""Many robots in shares, which threads take as they come: while Python is busy with one share, MuJoCo steps another."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor


def in_shares(count: int, threads: int, work: Callable[[slice], None], size: int | None = None) -> None:
    """Call work(share) for contiguous shares that make up range(count), in so many threads.

    There is a share for each thread; or, where several threads can take turns, as many more as have `size` robots or
    more.
    """
    shares = threads if size is None or threads == 1 else max(threads, count // size)
    number = max(1, min(shares, count))
    ends = [count * i // number for i in range(number + 1)]
    with ThreadPoolExecutor(max(1, threads)) as pool:
        for _ in pool.map(work, [slice(*pair) for pair in zip(ends[:-1], ends[1:], strict=True)]):
            pass
