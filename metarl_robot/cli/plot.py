# SPDX-License-Identifier: Apache-2.0
"""`metarl plot`: draws recorded runs again, overlaid."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from metarl_robot.cli.console import err, examples, note, out
from metarl_robot.core.errors import MetaRLError, UnknownNameError

if TYPE_CHECKING:
    from metarl_robot.cli.runlog import RunLog

_EPILOG = examples(
    ("metarl plot runs/2026-01-31_12-00-00", "recreate its report from its recordings"),
    ("metarl plot runs/A runs/B --out both.html", "the runs of two demos overlaid in one report"),
    ("metarl plot runs/A/meta_mpc --out error.png --figure tracking", "one figure of one run"),
    ("metarl plot recording/ --robot panda --out log.svg", "a recording from another source"),
    note="Everything is computed from the recordings; nothing else in the folder is read. With --robot, recordings of "
    "a real robot are drawn as they are; metarl log check checks them.",
)


_RUNS_HELP = "A recording (a rosbag2 folder, an .mcap file), or a folder with some; several are overlaid."


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("plot", epilog=_EPILOG)(plot)


def plot(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help=_RUNS_HELP)],
    target: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE",
            help="A report (.html) or a figure (.svg, .png, .pdf); default: report.html in the first folder.",
        ),
    ] = None,
    figure: Annotated[
        str,
        typer.Option(
            help="If FILE is a figure, which one: tracking, efforts, steps, angles, external, or a report's name."
        ),
    ] = "tracking",
    robot: Annotated[
        str | None,
        typer.Option(metavar="ROBOT", help="Draw recordings of this real robot; see metarl log --help."),
    ] = None,
    log_map: Annotated[
        Path | None, typer.Option("--map", metavar="FILE", help="With --robot: map.yaml of the recordings.")
    ] = None,
) -> None:
    """Plot recorded runs and print their results."""
    if robot is not None:
        _draw_logs(robot, runs, log_map, target)
        return
    recordings = [path for run in runs for path in recordings_in(run)]
    path = target or (runs[0] if runs[0].is_dir() else runs[0].parent) / "report.html"

    from metarl_robot.cli.figure import IMAGES, check_suffix
    from metarl_robot.cli.recording import read_runs

    check_suffix(path, (*IMAGES, "html"))
    with err().status("reading the recordings"):
        logs = read_runs(recordings)
    _write(path, logs, recordings, figure)
    note(f"written: {path}")


def _draw_logs(robot: str, logs: Sequence[Path], log_map: Path | None, target: Path | None) -> None:
    """Draw recordings of a real robot."""
    from metarl_robot.cli.figure import IMAGES, check_suffix
    from metarl_robot.cli.logs import draw_recordings, read_recordings

    path = target or logs[0].with_suffix(".svg")
    check_suffix(path, IMAGES)
    loaded, recordings = read_recordings(robot, logs, log_map)
    draw_recordings(loaded, recordings, path)


def recordings_in(run: Path) -> list[Path]:
    """The .mcap files of a bag, or of a folder with bags. Raises MetaRLError if there are none."""
    if run.suffix == ".mcap" and not run.exists():
        run = run.with_suffix("")  # the folder of a bag, given by its record_file name
    files = [*run.glob("*.mcap"), *run.glob("*/*.mcap")] if run.is_dir() else [run]
    if not files or not all(path.is_file() for path in files):
        expected = "a rosbag2 folder or an .mcap file, or a folder with some, such as runs/<time> of metarl demo"
        raise MetaRLError(f"{run}: no recording; expected {expected}")
    return sorted(files, key=lambda path: path.stat().st_mtime)


def _write(path: Path, logs: Sequence[RunLog], recordings: Sequence[Path], figure: str) -> None:
    from metarl_robot.cli import run_tables
    from metarl_robot.cli.figure import add_title, save, style
    from metarl_robot.cli.plot_run import figures
    from metarl_robot.cli.report import write_report
    from metarl_robot.cli.run_metrics import result_of
    from metarl_robot.core.robot import load_robot

    robot = load_robot(logs[0].robot)
    known = figures(robot)
    if figure not in known:
        raise UnknownNameError("figure", figure, tuple(known))
    results = [result_of(log, "recording", seed=0) for log in logs]
    if path.suffix == ".html":
        facts = {"recordings": ", ".join(str(recording) for recording in recordings)}
        write_report(
            path, logs, results, facts, [f"metarl plot {' '.join(str(recording) for recording in recordings)}"]
        )
    else:
        title, draw = known[figure]
        with style():
            drawn = draw(logs)
            if drawn is None:
                raise MetaRLError(
                    f"figure '{figure}': nothing was recorded for it; only a controller that estimates {figure} has one"
                )
            save(add_title(drawn, title), path)
    console = out()
    for view in run_tables.tables(results, robot.wording):
        console.print(run_tables.to_rich(view))
