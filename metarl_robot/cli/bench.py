# SPDX-License-Identifier: Apache-2.0
"""`metarl bench`: speed of this project and of the best peers, measured in one run on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from metarl_robot.benchmarks.catalogue import BENCHMARKS
from metarl_robot.cli.console import examples, note, out, parse_names, write_json
from metarl_robot.cli.progress import progress

_EPILOG = examples(
    ("metarl bench mpc", "a control step, compared with CasADi's solvers, do-mpc and acados"),
    ("metarl bench adapt,model --quick", "a short version, with rough timings"),
    ("metarl bench mpc --json mpc.json", "for programs"),
    ("metarl bench all --write docs/BENCHMARKS.md", "all of them, as a document with plots (make bench)"),
    note=f"Benchmarks: {', '.join(BENCHMARKS)}. Peers are optional: pip install "
    "'metarl_robot\\[bench]', or `make bench`, installs them; where one is missing, its row says so. Run nothing else "
    "on the machine meanwhile.",
)


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("bench", epilog=_EPILOG)(bench)


def bench(
    names: Annotated[str, typer.Argument(metavar="NAME", help="Benchmarks, separated by commas, or 'all'.")],
    quick: Annotated[bool, typer.Option("--quick", help="Fewer problems and repetitions: rough timings.")] = False,
    json: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write the rows as JSON; '-' for standard output.")
    ] = None,
    write: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a document (.md) with tables and plots.")
    ] = None,
) -> None:
    """Compare the speed of our code with peers, and check that both give the same answer."""
    from metarl_robot.benchmarks.catalogue import BENCHMARKS, runner

    wanted = tuple(BENCHMARKS) if names == "all" else parse_names(names)
    runners = [runner(name) for name in wanted]
    records: list[dict[str, Any]] = []
    with progress() as report:
        for run in runners:
            records.append(_record(run(report, quick), quick))
            _write(records, json if json != "-" else None, write)  # finished benchmarks are kept if a later one fails
    if json == "-":
        write_json(_one_or_all(records), json)
    else:
        _print(records)
    if write is not None:
        note(f"document: {write}")


def _write(records: list[dict[str, Any]], json: str | None, document: Path | None) -> None:
    from metarl_robot.cli.bench_document import write_document

    if json is not None:
        write_json(_one_or_all(records), json)
    if document is not None:
        write_document(records, document)


def _one_or_all(records: list[dict[str, Any]]) -> Any:
    return records[0] if len(records) == 1 else records


def _record(result: Any, quick: bool) -> dict[str, Any]:
    from metarl_robot.benchmarks.machine import machine, today, versions

    where = {
        "machine": machine(),
        "date": today(),
        "versions": versions(),
        "command": f"metarl bench {result.name}{' --quick' * quick}",
    }
    return {"name": result.name, **where, **result.to_dict()}


def _print(records: list[dict[str, Any]]) -> None:
    from metarl_robot.cli.bench_tables import bench_table

    for record in records:
        out().print(bench_table(record))
        for remark in record["remarks"]:
            out().print(remark, style="dim", highlight=False, markup=False)
