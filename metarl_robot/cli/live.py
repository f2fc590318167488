# SPDX-License-Identifier: Apache-2.0
"""Progress of a running demo: a live view in a terminal, otherwise a line every two seconds."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from metarl_robot.cli.console import NOTHING, err, number

_LINE_EVERY_S = 2.0
_BLOCKS = "▁▂▃▄▅▆▇█"
_CURVE_WIDTH = 48
_LOWEST_MM, _HIGHEST_MM = 0.01, 100.0


@dataclass(frozen=True)
class Sample:
    """Values at one time of a run. None: not (yet) published.

    time_s: time of the run. error_m: distance of the robot from its reference. estimates: mean, standard deviation and
    unit of quantities, by name. step_ms: duration of the last controller step. missed_deadlines: count so far. status:
    of the controller. held: why the gate holds the robot; empty while it does not. stopped: why it last stopped it
    after the first second; empty if it has not.
    """

    time_s: float
    error_m: float | None = None
    estimates: Mapping[str, tuple[float, float, str]] | None = None
    step_ms: float | None = None
    missed_deadlines: int | None = None
    status: str | None = None
    held: str | None = None
    stopped: str | None = None


class View(Protocol):
    """Displays samples as they arrive."""

    def show(self, sample: Sample) -> None: ...


@contextmanager
def live_view(title: str, duration_s: float, changes: Sequence[tuple[float, str]]) -> Iterator[View]:
    """Show one run on stderr within the block. changes: (time [s], description of the change)."""
    console = err()
    if not console.is_terminal:
        yield _Lines(console, title, duration_s)
        return
    with Live(Text(f"{title}: starting the nodes", style="dim"), console=console, refresh_per_second=10) as live:
        yield _Screen(live, title, duration_s, changes)


class _Screen:
    def __init__(self, live: Live, title: str, duration_s: float, changes: Sequence[tuple[float, str]]) -> None:
        self._live, self._title, self._duration, self._changes = live, title, duration_s, changes
        self._errors: deque[float] = deque([math.nan] * _CURVE_WIDTH, maxlen=_CURVE_WIDTH)
        self._next = 0.0

    def show(self, sample: Sample) -> None:
        while sample.error_m is not None and sample.time_s >= self._next:
            self._errors.append(1e3 * sample.error_m)
            self._next += self._duration / _CURVE_WIDTH
        self._live.update(self._panel(sample))

    def _panel(self, sample: Sample) -> Panel:
        rows = Table.grid(padding=(0, 2))
        rows.add_row("tracking error", f"{_millimetres(sample)} mm", Text(curve(list(self._errors)), style="cyan"))
        for name, text in estimates(sample).items():
            rows.add_row(name, text, Text(self._remark(sample), style="dim"))
        rows.add_row(
            "controller step", f"{number(sample.step_ms)} ms", Text(f"missed deadlines {_count(sample)}", style="dim")
        )
        bar = ProgressBar(total=self._duration, completed=min(sample.time_s, self._duration), width=72)
        return Panel(
            Group(rows, Text(), bar),
            title=f"{self._title}  {sample.time_s:5.1f} of {self._duration:g} s",
            title_align="left",
            expand=False,
        )

    def _remark(self, sample: Sample) -> str:
        for time_s, what in self._changes:
            if sample.time_s < time_s:
                return f"in {time_s - sample.time_s:.0f} s {what}"
        return "unknown to the controller"


class _Lines:
    def __init__(self, console: Console, title: str, duration_s: float) -> None:
        self._console, self._title, self._duration = console, title, duration_s
        self._next = 0.0

    def show(self, sample: Sample) -> None:
        if sample.time_s < self._next:
            return
        self._next = sample.time_s + _LINE_EVERY_S
        parts = [
            f"{self._title}: {sample.time_s:4.1f} of {self._duration:g} s",
            f"error {_millimetres(sample)} mm",
            *(f"{name} {text}" for name, text in estimates(sample).items()),
            f"step {number(sample.step_ms)} ms",
            f"missed deadlines {_count(sample)}",
        ]
        self._console.print("   ".join(parts), markup=False, highlight=False)


def curve(values_mm: list[float]) -> str:
    """Values as a row of block characters on a logarithmic scale; blank for a missing value."""
    return "".join(_block(value) for value in values_mm)


def _block(value_mm: float) -> str:
    if not math.isfinite(value_mm):
        return " "
    share = math.log(max(value_mm, _LOWEST_MM) / _LOWEST_MM) / math.log(_HIGHEST_MM / _LOWEST_MM)
    return _BLOCKS[min(int(share * len(_BLOCKS)), len(_BLOCKS) - 1)]


def _millimetres(sample: Sample) -> str:
    return number(None if sample.error_m is None else 1e3 * sample.error_m)


def estimates(sample: Sample) -> dict[str, str]:
    """Estimates as text, by name; a placeholder before the first."""
    return {name: _estimate(*values) for name, values in (sample.estimates or {}).items()} or {"estimate": NOTHING}


def _estimate(mean: float, std: float, unit: str) -> str:
    digits = 2 if max(mean, std) >= 0.1 else 4
    return f"{mean:.{digits}f} ± {std:.{digits}f} {unit}"


def _count(sample: Sample) -> str:
    return NOTHING if sample.missed_deadlines is None else str(sample.missed_deadlines)
