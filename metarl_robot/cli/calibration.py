# SPDX-License-Identifier: Apache-2.0
"""`metarl calibration`: compares the standard deviations of the estimates with their errors."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from metarl_robot.cli.console import examples, note, out, write_json
from metarl_robot.cli.progress import Report, progress

if TYPE_CHECKING:
    from metarl_robot.cli.kept_results import Results

_EPILOG = examples(
    ("metarl calibration panda", "200 draws of suite heldout: minutes"),
    ("metarl calibration panda --suite extrapolation --plot calibration.svg", "with a reliability diagram"),
    ("metarl calibration panda --draws 400 --resume", "continue after Ctrl-C, or add draws"),
    ("metarl calibration f1tenth", "friction, rolling resistance, slope and load of a car"),
    ("metarl calibration x500 --draws 30 --json -", "for programs: only JSON on standard output"),
    note="Each draw is one run of the suite, recorded under offset_free_mpc; the adaptive controller's adapter is then "
    "run on the recording. 'exact' is the posterior of the same model with the true time of the change, latency and "
    "linearisation point. An estimate is calibrated if 2σ holds 90 to 98 % of the errors and σ is at most 1.5 times "
    "the root mean square error. 'use' is the largest share of an effort limit, or of the friction, that the motion "
    "has needed since the change. Never tune on seeds below 1000.",
)


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("calibration", epilog=_EPILOG)(calibration)


def calibration(
    robot: Annotated[str, typer.Argument(metavar="ROBOT", help="A robot's name (metarl robots) or folder.")],
    suite: Annotated[str, typer.Option(help="Suite of runs: see metarl eval --help.")] = "heldout",
    draws: Annotated[int, typer.Option(min=1, max=100_000, help="Number of draws over all scenarios.")] = 200,
    seed: Annotated[int, typer.Option(min=0, max=1_000_000, help="Seed of the first draw.")] = 0,
    jobs: Annotated[int, typer.Option(min=0, max=1024, help="Number of processes; 0: one per processor.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Keep the draws in the output folder.")] = False,
    folder: Annotated[Path, typer.Option("--out", metavar="DIR", help="Output folder; one line per draw.")] = Path(
        "runs/calibration"
    ),
    json: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write draws and summary; '-' for standard output.")
    ] = None,
    plot: Annotated[Path | None, typer.Option(metavar="FILE", help="Reliability diagram (.svg, .png or .pdf).")] = None,
) -> None:
    """Measure coverage and sharpness of the estimates over many draws, beside the exact posterior."""
    from metarl_robot.cli.kept_results import Results
    from metarl_robot.core.robot import load_robot
    from metarl_robot.sim.calibration import draws as drawn
    from metarl_robot.sim.calibration import summary

    if plot is not None:
        _check_plot(plot)
    loaded = load_robot(robot)
    wanted = drawn(loaded, suite, draws, seed)
    results = Results(folder, resume)
    with progress() as report:
        complete = _run(report, results, loaded, suite, wanted, jobs or len(os.sched_getaffinity(0)))
    keys = set(wanted)
    rows = [row for row in results.rows([loaded.name], suite) if (row["kind"], row["seed"]) in keys]
    document = {"robot": loaded.name, "suite": suite, "draws": rows, "summary": summary(rows)}
    _tell(document, json, plot)
    if not complete:
        raise typer.Exit(130)


def _check_plot(path: Path) -> None:
    from metarl_robot.cli.figure import IMAGES, check_suffix

    check_suffix(path, IMAGES)


def _run(report: Report, results: Results, robot: Any, suite: str, wanted: tuple[Any, ...], jobs: int) -> bool:
    """Run the missing draws; each is written when it ends. Returns False if interrupted by Ctrl-C."""
    from metarl_robot.sim.calibration import calibrate

    left = [draw for draw in wanted if not results.has(robot.name, suite, *draw)]
    done = len(wanted) - len(left)
    report("draws", done, len(wanted))

    def finished(row: dict[str, Any]) -> None:
        nonlocal done
        results.add(row)
        done += 1
        report("draws", done, len(wanted), f"{row['kind']} {row['seed']}")

    try:
        calibrate(robot, suite, left, jobs, finished)
    except KeyboardInterrupt:
        note("finished draws are kept; continue with --resume", "interrupted")
        return False
    return True


def _tell(document: dict[str, Any], json: str | None, plot: Path | None) -> None:
    from metarl_robot.cli.calibration_table import calibration_table

    if json is not None:
        write_json(document, json)
    if json != "-":
        out().print(calibration_table(document))
    if plot is not None and document["summary"]:
        from metarl_robot.cli.figure import save, style
        from metarl_robot.cli.plot_calibration import calibration_figure

        with style():
            note(f"plot: {save(calibration_figure(document), plot)}")
