# SPDX-License-Identifier: Apache-2.0
"""Writer of docs/BENCHMARKS.md.

The document holds the table, remarks and plots of every benchmark, with machine, date, versions and commands.
"""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import Any

from metarl_robot.cli.bench_tables import COLUMNS, cells, said_below


def write_document(records: list[dict[str, Any]], path: Path) -> None:
    """Write `path` and one figure for each group of curves beside it (bench_<benchmark>_<figure>.svg)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_document(records, path.parent), encoding="utf-8")


def _document(records: list[dict[str, Any]], folder: Path) -> str:
    first = records[0]
    versions = ", ".join(f"{name} {version}" for name, version in first["versions"].items())
    head = (
        "# Benchmarks\n\n"
        "Written by `make bench`; do not edit. Ours and the peer ran in turns, in one run. Compare the ratios (peer / "
        "ours, medians);\nthe times depend on the machine. Before the timing, both are shown to give the same answer."
        f"\n\nMachine: {first['machine']}. Date: {first['date']}. Versions: {versions}.\n"
    )
    return "\n".join([head, *(_section(record, folder) for record in records)])


def _section(record: dict[str, Any], folder: Path) -> str:
    header = f"## {record['name']}\n\n`{record['command']}`\n"
    lines = ["| " + " | ".join(COLUMNS) + " |", "|---|" + "---:|" * (len(COLUMNS) - 2) + "---|"]
    lines += ["| " + " | ".join(cells(row)) + " |" for row in record["rows"]]
    below = [
        f"- {row['case']}{' against ' + row['peer'] if row['peer'] else ''}: {said_below(row)}"
        for row in record["rows"]
        if said_below(row)
    ]
    remarks = [*record["remarks"], *(_fit(curve) for curve in record["curves"])]
    parts = [
        header,
        "\n".join(lines) + "\n" if record["rows"] else "",
        "\n".join(below),
        "\n".join(f"- {x}" for x in remarks),
    ]
    return "\n".join(part for part in [*parts, _plots(record, folder)] if part) + "\n"


def _fit(curve: dict[str, Any]) -> str:
    return f"{curve['figure']}, {curve['label']}: cost ~ {curve['size_name']}^{curve['exponent']:.2f}"


def _plots(record: dict[str, Any], folder: Path) -> str:
    if not record["curves"]:
        return ""
    from metarl_robot.cli.figure import save, style
    from metarl_robot.cli.plot_bench import curves

    names = []
    for figure, group in groupby(record["curves"], key=lambda curve: curve["figure"]):
        name = f"bench_{record['name']}_{figure.replace(' ', '_')}.svg"
        with style():
            save(curves(list(group)), folder / name)
        names.append(f"\n![{figure}]({name})")
    return "\n".join(names)
