# SPDX-License-Identifier: Apache-2.0
"""Protocol of an engine, which computes a pure function of many independent work items.

An item holds its own seeds, so that its result does not depend on where it is computed, in which order or how often.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")


class Engine(Protocol):
    """Computes work items side by side."""

    def run_all(self, do: Callable[[Job], Result], work: Sequence[Job]) -> Iterator[tuple[int, Result]]:
        """Yield (index, do(work[index])) as items end, in any order. `do`, items and results can be pickled.

        An error of `do` is raised here. Closing the iterator begins no further items.
        """
        ...


def in_order(engine: Engine, do: Callable[[Job], Result], work: Sequence[Job]) -> list[Result]:
    """All results, in the order of the work items."""
    results = dict(engine.run_all(do, work))
    return [results[index] for index in range(len(work))]
