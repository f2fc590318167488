# SPDX-License-Identifier: Apache-2.0
"""A work queue: many robots in shares that threads process in turn.

While Python computes one share, MuJoCo steps another.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor


def in_shares(count: int, threads: int, work: Callable[[slice], None], size: int | None = None) -> None:
    """Call work(share) for contiguous shares of range(count) in a number of threads.

    There is one share per thread; or, with `size` and several threads, more shares of at least `size` robots each.
    """
    shares = threads if size is None or threads == 1 else max(threads, count // size)
    number = max(1, min(shares, count))
    ends = [count * i // number for i in range(number + 1)]
    with ThreadPoolExecutor(max(1, threads)) as pool:
        for _ in pool.map(work, [slice(*pair) for pair in zip(ends[:-1], ends[1:], strict=True)]):
            pass
