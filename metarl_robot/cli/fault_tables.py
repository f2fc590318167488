# SPDX-License-Identifier: Apache-2.0
"""Tables of fault runs; a cell holds the runs of one robot, one kind of fault and one place (process or processes)."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from rich.table import Table

from metarl_robot.cli.console import number, table

COLUMNS = (
    "fault", "runs", "unsafe", "effort / limit", "rate / limit", "oldest command [ms]",
    "not finite", "afterwards", "normal again", "crashed", "too fast", "reason given",
)  # fmt: skip
_SAID_LENGTH = 70


def cells(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Summarise the runs of each cell in one row."""
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["robot"], row["where"], row["kind"]), []).append(row)
    return [_cell(*key, group) for key, group in groups.items()]


def _cell(robot: str, where: str, kind: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    reached = [row["reached"] for row in rows]
    return {
        "robot": robot,
        "where": where,
        "kind": kind,
        "runs": len(rows),
        "unsafe": sum(row["unsafe"] for row in rows),
        "effort_ratio": max(one["effort_ratio"] for one in reached),
        "rate_ratio": max(one["rate_ratio"] for one in reached),
        "oldest_s": max(one["oldest_s"] for one in reached),
        "not_finite": sum(one["not_finite"] for one in reached),
        "strangers": sum(one["strangers"] for one in reached),
        "states": dict(Counter(row["state"] for row in rows)),
        "recovered": sum(row["recovered"] for row in rows),
        "crashed": sum(row["crashed"] for row in rows),
        "too_fast": sum(row["velocity_violations"] > 0 for row in rows),
        "ended": sorted({text for row in rows for text in row["ended"]}),
        "said": dict(Counter(_without_numbers(said) for row in rows for said in row["said"])),
        "unsafe_seeds": [row["seed"] for row in rows if row["unsafe"]],
    }


def _without_numbers(text: str) -> str:
    return re.sub(r"-?\d+(\.\d+)?", "N", text)


def texts(cell: dict[str, Any]) -> tuple[str, ...]:
    """Cells of a row, in the order of COLUMNS."""
    states = ", ".join(f"{state} {count}" for state, count in cell["states"].items())
    said = max(cell["said"], key=cell["said"].__getitem__, default="")
    return (
        cell["kind"],
        str(cell["runs"]),
        str(cell["unsafe"]),
        number(cell["effort_ratio"]),
        number(cell["rate_ratio"]),
        number(1e3 * cell["oldest_s"]),
        str(cell["not_finite"]),
        states,
        str(cell["recovered"]),
        str(cell["crashed"]),
        str(cell["too_fast"]),
        said if len(said) <= _SAID_LENGTH else said[: _SAID_LENGTH - 1] + "…",
    )


def faults_table(rows: list[dict[str, Any]]) -> Table:
    """Table with one line for each kind of fault."""
    note = "Largest values over all runs. Normal again, crashed, too fast: number of runs."
    result = table(f"Faults: {rows[0]['robot']}", COLUMNS, caption=note)
    for cell in cells(rows):
        result.add_row(*(text.replace("[", "\\[") for text in texts(cell)))
    return result


def kinds_table() -> Table:
    """Table of all kinds of fault, and where each is tested."""
    from metarl_robot.cli.fault_processes import KINDS as PROCESS_KINDS
    from metarl_robot.sim.faults import KINDS

    result = table("Kinds of fault", ("kind", "group", "where", "description"))
    for kind in KINDS.values():
        result.add_row(kind.name, kind.group, "one process", kind.text)
    for one in PROCESS_KINDS.values():
        result.add_row(one.name, one.group, "--processes", one.text)
    return result


LONG_COLUMNS = (
    "robot", "simulated [min]", "memory [MB]", "later", "error [mm]", "later", "belief", "later",
)  # fmt: skip


def long_texts(row: dict[str, Any]) -> tuple[str, ...]:
    """Row of a long run: values at its start (after warm-up) and at its end."""
    return (
        row["robot"],
        number(row["minutes"]),
        number(row["memory_start_mb"], 4),
        number(row["memory_end_mb"], 4),
        number(1e3 * row["error_start_m"]),
        number(1e3 * row["error_end_m"]),
        number(row["belief_start"]),
        number(row["belief_end"]),
    )


def long_table(rows: list[dict[str, Any]]) -> Table:
    """Table with one line for each long run."""
    note = "Error, belief (largest magnitude of the context): largest in the first and last tenth."
    result = table("Long runs", LONG_COLUMNS, caption=note)
    for row in rows:
        result.add_row(*long_texts(row))
    return result
