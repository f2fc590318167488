# SPDX-License-Identifier: Apache-2.0
"""Writer of docs/RELIABILITY.md: results of `metarl faults`, with machine, date, versions and commands."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from metarl_robot.cli.fault_tables import COLUMNS, LONG_COLUMNS, cells, long_texts, texts

_HEAD = """# Reliability under faults

Written by `metarl faults --resume --write docs/RELIABILITY.md`; do not edit. A seed determines the
onset, length, size and target of each fault, so they differ from run to run. The commands are
measured where the plant receives them.

A run is unsafe when a command reached the plant that

- was not finite,
- was beyond an effort limit (effort / limit > 1; exact zeros are "off"),
- changed faster than `effort_rate_limit` allows (rate / limit > 1: the largest change over any
  interval, divided by the change that the limit allows in that interval plus a tolerance of one
  control period; two between real processes),
- acted although it was older than `command_timeout_s` plus one period (after the end of the gate:
  older than the last hop's `command_deadline_s`), or
- came from an unknown publisher;

or when a process ended without being killed, or a part raised an unexpected error.

*Normal again*: commands pass, and the error is at most twice the error before the fault (or 5 mm,
50 mm in flight). *Crashed*: touched the ground faster than 1.5 m/s or tilted by more than 46°.
*Too fast*: runs with a joint, a speed or a rate beyond its limit. The last two do not count as
unsafe: a wrong sensor can cause them even if all commands are within limits.
"""


def write_document(rows: list[dict[str, Any]], long_rows: list[dict[str, Any]], path: Path) -> None:
    """Write all results as Markdown."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_document(rows, long_rows), encoding="utf-8")


def _document(rows: list[dict[str, Any]], long_rows: list[dict[str, Any]]) -> str:
    from metarl_robot.benchmarks.machine import machine, today, versions

    named = ", ".join(f"{name} {version}" for name, version in versions().items())
    parts = [_HEAD, f"Machine: {machine()}. Date: {today()}. Versions: {named}.\n"]
    for where, title in (("lockstep", "In one process"), ("processes", "With real processes")):
        for robot in dict.fromkeys(row["robot"] for row in rows):
            some = [row for row in rows if (row["where"], row["robot"]) == (where, robot)]
            parts += [_section(title, robot, where, some)] if some else []
    if long_rows:
        parts.append(_long(long_rows))
    return "\n".join([*parts, _kinds()])


def _section(title: str, robot: str, where: str, rows: list[dict[str, Any]]) -> str:
    seeds = max(row["seed"] for row in rows) + 1
    command = f"metarl faults {robot}{' --processes' * (where == 'processes')} --seeds {seeds}"
    unsafe = sum(row["unsafe"] for row in rows)
    made = cells(rows)
    lines = [
        f"## {title}: {robot}\n",
        f"`{command}`\n",
        f"{len(rows)} runs, {unsafe} unsafe.\n",
        _table(COLUMNS, [texts(cell) for cell in made]),
    ]
    ended = [f"- {cell['kind']}: {'; '.join(cell['ended'])}" for cell in made if cell["ended"]]
    return "\n".join([*lines, *(["Ended or raised:\n", *ended, ""] if ended else [])])


def _long(rows: list[dict[str, Any]]) -> str:
    minutes = max(row["minutes"] for row in rows)
    robots = ",".join(row["robot"] for row in rows)
    text = _table(LONG_COLUMNS, [long_texts(row) for row in rows])
    note = (
        "Memory: of the process, after the first tenth and at the end. Error and belief (largest "
        "magnitude of the context): largest in the first and the last tenth.\n"
    )
    return f"## Long runs\n\n`metarl faults {robots} --long {minutes:g}`\n\n{note}\n{text}"


def _kinds() -> str:
    from metarl_robot.cli.fault_processes import KINDS as PROCESS_KINDS
    from metarl_robot.sim.faults import KINDS

    rows = [(kind.name, kind.group, "one process", kind.text) for kind in KINDS.values()]
    rows += [(k.name, k.group, "real processes", k.text) for k in PROCESS_KINDS.values()]
    return "## Kinds of fault\n\n" + _table(("kind", "group", "where", "description"), rows)


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(text.replace("|", "\\|") for text in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"
