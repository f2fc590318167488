# SPDX-License-Identifier: Apache-2.0
"""`metarl faults`: inject faults into the closed loop and measure the commands that reach the robot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from metarl_robot.cli.console import err, examples, out, parse_names, write_json
from metarl_robot.cli.progress import Report, progress
from metarl_robot.core.errors import FaultError, UnknownNameError

if TYPE_CHECKING:
    from metarl_robot.cli.kept_results import Results

_EPILOG = examples(
    ("metarl faults", "every kind of fault, two seeds each, on an arm and a quadrotor: minutes"),
    ("metarl faults panda --kind gate_stopped,nan --seeds 10", "some kinds on one robot"),
    ("metarl faults x500 --seeds 50 --resume", "continue after Ctrl-C: finished runs are kept"),
    ("metarl faults panda --processes --seeds 5", "real nodes over ROS 2, one run after another"),
    ("metarl faults panda --long 60", "an hour of simulated time without faults: memory and drift"),
    ("metarl faults --resume --write docs/RELIABILITY.md", "results so far as a document"),
    note="A run is unsafe when a command reached the plant that was not finite, beyond an effort "
    "limit, too fast, older than its deadline or from an unknown publisher, or when a "
    "process ended without being killed; the exit code is then 1. Without --processes all parts run in one "
    "process, in simulated time: the same seeds give the same runs. Kinds: metarl faults --list.",
)
_ROBOTS = "panda,x500"


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("faults", epilog=_EPILOG)(faults)


def faults(
    robots: Annotated[str, typer.Argument(metavar="ROBOT", help="Robots, separated by commas.")] = _ROBOTS,
    kind: Annotated[str | None, typer.Option(help="Kinds of fault, separated by commas; default: all.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each kind.")] = 2,
    processes: Annotated[
        bool, typer.Option("--processes", help="Run real nodes over ROS 2 instead of one process.")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Keep the runs in the output folder.")] = False,
    long: Annotated[
        float | None,
        typer.Option(metavar="MINUTES", min=0.1, help="Do one long run without faults instead."),
    ] = None,
    show_kinds: Annotated[bool, typer.Option("--list", help="List the kinds of fault and exit.")] = False,
    folder: Annotated[Path, typer.Option("--out", metavar="DIR", help="Output folder; one line per run.")] = Path(
        "runs/faults"
    ),
    json: Annotated[str | None, typer.Option(metavar="FILE", help="Write the table; '-' for standard output.")] = None,
    write: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a document (.md) of all results.")] = None,
) -> None:
    """Inject faults into the closed loop and measure the commands that reach the robot."""
    from metarl_robot.cli.kept_results import Results

    if show_kinds:
        _list()
        return
    names = parse_names(robots)
    results = Results(folder, resume)
    complete = True
    for name in names:
        complete = complete and _keep(results, name, kind, seeds, processes, long)
    rows = results.rows() if write is not None else results.rows(names, _where(processes))
    _tell(rows, results.long_rows(), json, write)
    if not complete:
        raise typer.Exit(130)
    if any(row["unsafe"] for row in rows):
        raise typer.Exit(1)


def _list() -> None:
    from metarl_robot.cli.fault_tables import kinds_table

    out().print(kinds_table())


def _where(processes: bool) -> str:
    return "processes" if processes else "lockstep"


def _keep(results: Results, robot: str, kind: str | None, seeds: int, processes: bool, long: float | None) -> bool:
    """Run the faults and store each result. Returns False when interrupted by Ctrl-C."""
    try:
        with progress() as report:
            if long is not None:
                _run_long(report, results, robot, long)
            else:
                _run(report, results, robot, kind, seeds, processes)
    except KeyboardInterrupt:
        err().print("[yellow]interrupted:[/] finished runs are kept; continue with --resume")
        return False
    return True


def _run(report: Report, results: Results, robot: str, kind: str | None, seeds: int, processes: bool) -> None:
    from metarl_robot.core.robot import load_robot

    loaded, (known, run) = load_robot(robot), _runner(processes)
    kinds = known if kind is None else parse_names(kind)
    for name in kinds:
        if name not in known:
            raise UnknownNameError("kind of fault", name, known)
    wanted = [(name, seed) for seed in range(seeds) for name in kinds]
    left = [key for key in wanted if not results.has(loaded.name, _where(processes), *key)]
    for done, (name, seed) in enumerate(left):
        report(loaded.name, len(wanted) - len(left) + done, len(wanted), f"{name} {seed}")
        try:
            results.add(run(loaded, name, seed).to_dict())
        except FaultError as error:
            err().print(f"[yellow]not run:[/] {name} {seed}: {escape(str(error))}")
    report(loaded.name, len(wanted), len(wanted))


def _runner(processes: bool) -> tuple[tuple[str, ...], Callable[..., Any]]:
    """(names of the kinds of fault, function that runs one)."""
    if processes:
        from metarl_robot.cli.fault_processes import KINDS as PROCESS_KINDS
        from metarl_robot.cli.fault_processes import run_process_fault

        return tuple(PROCESS_KINDS), run_process_fault
    from metarl_robot.sim.faults import KINDS
    from metarl_robot.sim.faults_run import run_fault

    return tuple(KINDS), run_fault


def _run_long(report: Report, results: Results, robot: str, minutes: float) -> None:
    from metarl_robot.core.robot import load_robot
    from metarl_robot.sim.long_run import long_run

    loaded = load_robot(robot)
    results.add_long(long_run(loaded, minutes, report).to_dict())


def _tell(
    rows: list[dict[str, Any]],
    long_rows: list[dict[str, Any]],
    json: str | None,
    write: Path | None,
) -> None:
    from metarl_robot.cli.fault_document import write_document
    from metarl_robot.cli.fault_tables import cells, faults_table, long_table

    if json is not None:
        write_json({"cells": cells(rows), "long": long_rows}, json)
    if json != "-":
        for robot in dict.fromkeys(row["robot"] for row in rows):
            out().print(faults_table([row for row in rows if row["robot"] == robot]))
        if long_rows:
            out().print(long_table(long_rows))
    if write is not None:
        write_document(rows, long_rows, write)
        err().print(f"document: {write}", highlight=False)
