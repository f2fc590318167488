"""Many robots in equal shares, a thread each: while Python is busy with one share, MuJoCo steps the others."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor


def in_shares(count: int, threads: int, work: Callable[[slice], None]) -> None:
    """Call work(share) for contiguous shares that make up range(count), each in a thread."""
    number = max(1, min(threads, count))
    ends = [count * i // number for i in range(number + 1)]
    with ThreadPoolExecutor(number) as pool:
        for _ in pool.map(work, [slice(*pair) for pair in zip(ends[:-1], ends[1:], strict=True)]):
            pass
