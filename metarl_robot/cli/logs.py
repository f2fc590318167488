# SPDX-License-Identifier: Apache-2.0
"""`metarl log`: recordings of real robots, made without this project."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from metarl_robot.cli.console import examples, note, out, parse_names, write_json
from metarl_robot.cli.progress import progress
from metarl_robot.core.errors import MetaRLError

if TYPE_CHECKING:
    from metarl_robot.core.robot import Robot
    from metarl_robot.logs.check import Report
    from metarl_robot.logs.flight_check import FlightReport
    from metarl_robot.logs.recording import Recording

_NOTE = (
    "A log is a rosbag2 folder, an .mcap, .db3 or ROS 1 .bag file, or a table (.csv, .tsv, .txt, .parquet, .h5); of a "
    "quadrotor also a PX4 ULog (.ulg). A bag with /joint_states, or with /odom, /imu/data and the thrusts of this "
    "project's own nodes, needs no map. docs/howto/own_recordings.md describes map.yaml."
)
_CHECK = examples(
    ("metarl log check panda recording/", "a rosbag2 folder with /joint_states"),
    ("metarl log check panda log.csv --map map.yaml --out check.svg", "a table with its own columns; a figure"),
    ("metarl log check panda recording/ --json -", "for programs: only JSON on standard output"),
    note=f"{_NOTE} Exit code 1: a recording is not usable as it is.",
)
_EVAL = examples(
    ("metarl log eval panda recording/", "all adapters that have weights, and simple baselines"),
    ("metarl log eval panda a.mcap b.mcap --adapters last_layer --figure eval.svg", "one adapter on two logs"),
    note=f"{_NOTE} Adapters start from their prior in each log. The nominal model is always among the baselines.",
)
_IDENTIFY = examples(
    (
        "metarl log identify my_arm monday.mcap tuesday.mcap -o my_arm_2",
        "a new folder; each log is predicted from the other",
    ),
    ("metarl log identify my_arm log.csv --map map.yaml", "one log; only the report"),
    ("metarl log identify x500 flight.ulg --mass 2.11 -o my_drone", "a quadrotor that was weighed"),
    note=f"{_NOTE} All logs are of one condition: the same payload, or none. The folder is written only if held-out "
    "logs (of one log: each fifth) are predicted better than before; otherwise the exit code is 1.",
)

_ROBOT = Annotated[str, typer.Argument(metavar="ROBOT", help="A robot's name (metarl robots) or folder.")]
_LOGS = Annotated[list[Path], typer.Argument(metavar="LOG...", help="Recordings of this robot; see below.")]
_MAP = Annotated[
    Path | None, typer.Option("--map", metavar="FILE", help="map.yaml: topics or columns, units, signs of the logs.")
]
_JSON = Annotated[str | None, typer.Option(metavar="FILE", help="Write the results; '-' for standard output.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    logs = typer.Typer(
        no_args_is_help=True, help="Recordings of real robots: check them, run adapters over them, identify."
    )
    logs.command("check", epilog=_CHECK)(check)
    logs.command("eval", epilog=_EVAL)(evaluate)
    logs.command("identify", epilog=_IDENTIFY)(identify)
    app.add_typer(logs, name="log")


def check(
    robot: _ROBOT,
    logs: _LOGS,
    log_map: _MAP = None,
    json: _JSON = None,
    figure: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Draw the recordings (.svg, .png or .pdf).")
    ] = None,
) -> None:
    """Check recordings: timing, noise, signs, units, gravity and excitation."""
    _check_image(figure)
    loaded, recordings = read_recordings(robot, logs, log_map)
    reports = [_examined(loaded, recording) for recording in recordings]
    if json is not None:
        write_json([_document(report) for report in reports], json)
    if json != "-":
        _print_reports(loaded, reports)
    if figure is not None:
        draw_recordings(loaded, recordings, figure)
    if not all(report.usable for report in reports):
        raise typer.Exit(1)


def _examined(robot: Robot, recording: Recording) -> Report | FlightReport:
    if robot.attitude is not None:
        from metarl_robot.logs.flight_check import check_flight

        return check_flight(robot, recording)
    from metarl_robot.logs.check import check as examined

    return examined(robot, recording)


def evaluate(
    robot: _ROBOT,
    logs: _LOGS,
    log_map: _MAP = None,
    adapters: Annotated[
        str | None, typer.Option(help="Adapters, separated by commas; default: all that have weights.")
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(
            metavar="HZ",
            min=0.0,
            max=1e5,
            help="Rate of the samples that adapters get; default: the robot's control rate; 0: the log's.",
        ),
    ] = None,
    jobs: Annotated[int, typer.Option(min=0, max=1024, help="Number of processes; 0: one per processor.")] = 0,
    json: _JSON = None,
    figure: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw errors and estimates over time (.svg, .png or .pdf).")
    ] = None,
) -> None:
    """Run adapters over recordings as if live, and compare their predictions with simple baselines."""
    _check_image(figure)
    from metarl_robot.core.robot import load_robot
    from metarl_robot.logs.replay import evaluate_all
    from metarl_robot.logs.scores import summary

    loaded = load_robot(robot)
    names = _adapters(loaded) if adapters is None else parse_names(adapters)
    with progress() as report:
        recordings = each_read(loaded, logs, log_map, report)
        evaluations = evaluate_all(loaded, recordings, names, report, processes=jobs, rate_hz=rate)
    document = summary(loaded, evaluations)
    if json is not None:
        write_json(document, json)
    if json != "-":
        _print_scores(loaded, document)
    if figure is not None:
        from metarl_robot.cli.figure import save, style
        from metarl_robot.cli.plot_log import evaluation_figure

        with style():
            note(f"figure: {save(evaluation_figure(loaded, evaluations), figure)}")


def identify(
    robot: _ROBOT,
    logs: _LOGS,
    log_map: _MAP = None,
    folder: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FOLDER", help="Write a robot folder with the new parameters."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a robot that the folder holds.")] = False,
    json: _JSON = None,
    mass: Annotated[
        float | None, typer.Option(metavar="KG", help="Of a quadrotor: its mass, from a scale.", min=1e-3, max=1e3)
    ] = None,
    torque_ratio: Annotated[
        float | None,
        typer.Option(
            metavar="M", help="Of a quadrotor: torque over thrust of a rotor, from a thrust stand.", min=1e-4, max=1.0
        ),
    ] = None,
) -> None:
    """Find a robot's parameters in recordings, with standard errors.

    Of arms: inertias, friction, motor strength, delay. Of quadrotors: mass, inertia, thrust, drag, motor lag, delay.
    """
    from metarl_robot.cli import flight_identification, identification
    from metarl_robot.core.robot import load_robot

    loaded = load_robot(robot)
    if loaded.attitude is not None:
        flight_identification.run(loaded, logs, log_map, (mass, torque_ratio), folder, force, json)
        return
    if mass is not None or torque_ratio is not None:
        raise MetaRLError(f"--mass and --torque-ratio are of quadrotors; {loaded.name} is of kind '{loaded.kind}'")
    loaded, recordings = read_recordings(robot, logs, log_map)
    identification.run(loaded, recordings, folder, force, json)


def _check_image(path: Path | None) -> None:
    if path is not None:
        from metarl_robot.cli.figure import IMAGES, check_suffix

        check_suffix(path, IMAGES)


def _adapters(robot: Robot) -> tuple[str, ...]:
    """The registered adapters that need no trained weights, or whose weights are shipped with the robot."""
    from metarl_robot.adaptation.adapter_spec import ADAPTERS
    from metarl_robot.adaptation.factory import is_described
    from metarl_robot.core.checkpoint import default_checkpoint

    def ready(weights: str) -> bool:
        return not weights or default_checkpoint(robot, weights).is_file() or is_described(robot, weights)

    return tuple(name for name in ADAPTERS.names(robot.kind) if ready(ADAPTERS.get(robot.kind, name).weights))


def read_recordings(robot: str, logs: Sequence[Path], log_map: Path | None) -> tuple[Robot, list[Recording]]:
    """Read the robot and its recordings, and print their repairs. Raises LogError."""
    from metarl_robot.core.robot import load_robot

    loaded = load_robot(robot)
    return loaded, read_all(loaded, logs, log_map)


def read_all(loaded: Robot, logs: Sequence[Path], log_map: Path | None) -> list[Recording]:
    """Read a robot's recordings, and print their repairs. Raises LogError."""
    with progress() as report:
        return list(each_read(loaded, logs, log_map, report))


def each_read(loaded: Robot, logs: Sequence[Path], log_map: Path | None, report: Any) -> Iterator[Recording]:
    """Read a robot's recordings one after the other, and print their repairs. Raises LogError.

    report: takes a phase, its work done, its whole work, and words.
    """
    from metarl_robot.logs.log_map import read_map
    from metarl_robot.logs.reading import check_served, map_of, read_log

    check_served(loaded)
    mapped = read_map(log_map, map_of(loaded))
    for i, path in enumerate(logs):
        report("reading", i, len(logs), str(path))
        recording = read_log(loaded, path, mapped, partial(_within, report, i, len(logs), str(path)))
        for repair in recording.repairs:
            note(f"{recording.source}: {repair.count} × {repair.what}")
        report("reading", i + 1, len(logs))
        yield recording
        del recording  # before the next one is read


def _within(report: Any, i: int, count: int, path: str, done: int, total: int) -> None:
    """Report work on the i-th of several recordings."""
    report("reading", i * total + done, count * total, path)


def draw_recordings(robot: Robot, recordings: Sequence[Recording], path: Path) -> None:
    """Draw recordings of one robot, overlaid, to an image file."""
    from metarl_robot.cli.figure import save, style
    from metarl_robot.cli.plot_log import recordings_figure

    with style():
        note(f"figure: {save(recordings_figure(robot, recordings), path)}")


def _document(report: Report | FlightReport) -> dict[str, Any]:
    repairs, findings = ([vars(each) for each in part] for part in (report.repairs, report.findings))
    return {**vars(report), "repairs": repairs, "findings": findings, "verdict": report.verdict}


def _print_reports(robot: Robot, reports: Sequence[Any]) -> None:
    from metarl_robot.cli.log_tables import flights_table, joints_table, recordings_table, verdict_lines

    console = out()
    if robot.attitude is not None:
        console.print(flights_table(robot, reports))
    else:
        console.print(recordings_table(robot, reports))
        for report in reports:
            console.print(joints_table(robot, report))
    for line in verdict_lines(reports):
        console.print(line, highlight=False)


def _print_scores(robot: Robot, document: dict[str, Any]) -> None:
    from metarl_robot.cli.log_tables import estimates_table, scores_table

    out().print(scores_table(document))
    estimates = estimates_table(robot, document)
    if estimates.row_count:
        out().print(estimates)
