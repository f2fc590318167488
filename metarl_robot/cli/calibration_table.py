# SPDX-License-Identifier: Apache-2.0
"""Table of a calibration: errors, coverage and sharpness of the estimates, beside the exact posterior's."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from metarl_robot.cli.console import number, table


def calibration_table(document: dict[str, Any]) -> Table:
    """One line for each quantity, time after the change and kind of run; 'all' takes all kinds together."""
    crashed = sum(row["crashed"] for row in document["draws"])
    title = f"{document['robot']}, suite {document['suite']}: calibration over {len(document['draws'])} draws"
    columns = ("estimate", "runs", "draws", "median\nerror", "90 %", "rms", "σ", "2σ holds", "σ / rms", "calibrated")
    exact = ("exact:\nmedian", "90 %", "σ", "2σ holds")
    caption = "Time after the change. σ: root mean square. Calibrated: 2σ holds 90 to 98 %, σ / rms at most 1.5."
    if crashed:
        caption += f" {crashed} draws crashed and are left out."
    view = table(title, (*columns, *exact), caption=caption)
    for row in document["summary"]:
        view.add_row(*_cells(row))
    return view


def _cells(row: dict[str, Any]) -> list[str]:
    return [
        f"{row['title']}, {row['unit']}, {row['after_s']:g} s",
        row["kind"] or "all",
        str(row["count"]),
        *(number(row[key]) for key in ("median", "p90", "rms", "sigma")),
        _percent(row["within_2_sigma"]),
        number(row["sharpness"], 2),
        "yes" if row["calibrated"] else "no",
        *(number(row[f"exact_{key}"]) for key in ("median", "p90", "sigma")),
        _percent(row["exact_within_2_sigma"]),
    ]


def _percent(share: float) -> str:
    return f"{100.0 * share:.0f} %"
