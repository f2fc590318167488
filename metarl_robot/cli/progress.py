# SPDX-License-Identifier: Apache-2.0
"""Progress of long work on stderr: bars in a terminal, otherwise a line every few seconds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from metarl_robot.cli.console import err

_LINE_EVERY_S = 10.0


class Report(Protocol):
    """Receives the progress of work."""

    def __call__(self, phase: str, done: int, total: int, note: str = "") -> None: ...


@contextmanager
def progress() -> Iterator[Report]:
    """Show the progress of the work in the block, phase by phase."""
    console = err()
    if not console.is_terminal:
        yield _Lines(console)
        return
    name, note = TextColumn("{task.description:<9}"), TextColumn("{task.fields[note]}")
    with Progress(
        name, BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn(), note, console=console
    ) as bars:
        yield _Bars(bars)


class _Bars:
    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, phase: str, done: int, total: int, note: str = "") -> None:
        if phase not in self._tasks:
            self._tasks[phase] = self._bars.add_task(phase, total=total, note=note)
        self._bars.update(self._tasks[phase], completed=done, total=total, note=note)


class _Lines:
    """Prints a line when a phase begins and ends, and every few seconds in between."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._phase = ""
        self._next = 0.0

    def __call__(self, phase: str, done: int, total: int, note: str = "") -> None:
        now = monotonic()
        if phase == self._phase and done < total and now < self._next:
            return
        self._phase, self._next = phase, now + _LINE_EVERY_S
        self._console.print(f"{phase}: {done}/{total}  {note}".rstrip(), markup=False, highlight=False)
