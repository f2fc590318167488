# SPDX-License-Identifier: Apache-2.0
"""Tables of a benchmark, made from its JSON form, for the terminal and for documents."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from metarl_robot.cli.console import NOTHING, number, table

COLUMNS = ("case", "ours [µs]", "p99", "peer", "peer [µs]", "p99", "ratio", "same answer")


def bench_table(record: dict[str, Any]) -> Table:
    """Table with one line for each row; the row's note and details are in the line below it."""
    columns = tuple(column.replace("[", "\n[") for column in COLUMNS)
    result = table(record["name"], columns, caption=f"{record['machine']}. Ratio: peer / ours, medians.")
    for row in record["rows"]:
        result.add_row(*(cell.replace("[", "\\[") for cell in cells(row)))
        remark = said_below(row)
        if remark:
            result.add_row(f"[dim]  {remark}[/]")
    return result


def cells(row: dict[str, Any]) -> tuple[str, ...]:
    """Cells of a row, in the order of COLUMNS."""
    same = row["same_answer"]
    ratio = row["ratio"]
    return (
        row["case"],
        _time(row["ours_us_median"]),
        _time(row["ours_us_p99"]),
        row["peer"] or NOTHING,
        _time(row["peer_us_median"]),
        _time(row["peer_us_p99"]),
        NOTHING if ratio is None else f"{number(ratio)} ×",
        NOTHING if same is None else f"{same['metric']}: {_answer(same['ours'])}, {_answer(same['peer'])}",
    )


def said_below(row: dict[str, Any]) -> str:
    """A row's note and details in one line."""
    details = ", ".join(f"{name} {number(value)}" for name, value in row["details"].items())
    return "; ".join(part for part in (row["note"], details) if part)


def _time(microseconds: float | None) -> str:
    return number(microseconds)


def _answer(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.6g}"
