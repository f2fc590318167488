# SPDX-License-Identifier: Apache-2.0
"""`metarl demo`: a robot whose conditions change, without and with adaptation, over ROS 2 nodes.

It writes recordings, a table and a report.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from metarl_robot.cli.console import err, examples, note, out, parse_names, write_json
from metarl_robot.cli.demo_options import SET_HELP, DemoCommand, read_settings
from metarl_robot.view import check_installed

if TYPE_CHECKING:
    from metarl_robot.cli.run_metrics import Result
    from metarl_robot.core.robot import Robot
    from metarl_robot.sim.demo import Demo

_EPILOG = examples(
    ("metarl demo panda", "about a minute, in real time"),
    ("metarl demo quad", "a quadrotor (x500) on a figure eight: a payload at 5 s, wind at 10 s"),
    ("metarl demo car", "a car (f1tenth) on a figure eight: wet ground at 5 s, gravel at 10 s, a load at 15 s"),
    (
        "metarl demo panda --lockstep",
        "for slow machines: simulated time waits for the controller; same result",
    ),
    (
        "metarl demo panda --set payload_mass_kg=2.5 --set payload_com_m=0.05,0,0.08 --seed 3",
        "a payload and a motion of your choice",
    ),
    ("metarl demo panda --view", "also live in the browser"),
    ("metarl demo panda --controllers pid,offset_free_mpc,meta_mpc", "other controllers"),
    note=(
        "Output in runs/<time>/: report.html, summary.json, and for each controller a recording of all topics and "
        "the nodes' output."
    ),
)
_SCENARIO = "demo"
_ALIASES = {"quad": "x500", "car": "f1tenth"}
_LOCKSTEP = "lockstep: simulated time waits for every command"


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("demo", cls=DemoCommand, epilog=_EPILOG)(demo)


def demo(
    robot: Annotated[
        str, typer.Argument(metavar="ROBOT", help="A robot's name (metarl robots); 'quad' is x500, 'car' is f1tenth.")
    ],
    controllers: Annotated[
        str, typer.Option(help="Controllers to run in turn, separated by commas.")
    ] = "nominal_mpc,meta_mpc",
    lockstep: Annotated[
        bool, typer.Option("--lockstep", help="Simulated time waits for every command; for slow machines.")
    ] = False,
    duration: Annotated[
        float | None,
        typer.Option(help="Length of each run in seconds; the first change is at 5 s. Default: 10, quad 15, car 20."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Seed of motion, conditions and sensor noise.")] = 0,
    settings: Annotated[list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help=SET_HELP)] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="Trained weights; default: those shipped with the robot.")
    ] = None,
    out_folder: Annotated[Path, typer.Option("--out", metavar="DIR", help="Parent of this run's folder.")] = Path(
        "runs"
    ),
    view: Annotated[bool, typer.Option("--view", help="Show it in the browser, at http://localhost:8080.")] = False,
    json: Annotated[
        bool, typer.Option("--json", help="Print summary.json on standard output instead of tables.")
    ] = False,
) -> None:
    """Run a robot over ROS 2 while its conditions change, first without, then with adaptation."""
    from metarl_robot.core.robot import load_robot
    from metarl_robot.sim.kinds import simulation

    name = _ALIASES.get(robot, robot)
    loaded, names = load_robot(name), parse_names(controllers)
    task = simulation(loaded).demo(seed, **read_settings(settings or ()))
    _check_controllers(loaded.kind, names)
    folder = out_folder / datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    plan = _Plan(loaded, name, names, checkpoint, task, folder, _duration(task, duration), view)
    if view:
        check_installed()
        note("open http://localhost:8080", "view")
    _prepare(plan)
    with _told_what_is_kept(folder):
        mode = _run_all(plan, lockstep)
    _conclude(plan, mode, json)


@dataclass(frozen=True)
class _Plan:
    """Everything that a demo runs, and its output folder.

    robot_name: as the user wrote it. controllers: run one after the other.
    """

    robot: Robot
    robot_name: str
    controllers: tuple[str, ...]
    checkpoint: Path | None
    task: Demo
    folder: Path
    duration_s: float
    view: bool


def _duration(task: Demo, wanted_s: float | None) -> float:
    least, usual, most = task.duration_s
    duration_s = usual if wanted_s is None else wanted_s
    if not least <= duration_s <= most:
        raise typer.BadParameter(f"a duration of {duration_s:g} s: must be in [{least:g}, {most:g}] s")
    return duration_s


def _check_controllers(kind: str, names: Sequence[str]) -> None:
    """Raise UnknownNameError for a controller that the nodes do not offer."""
    from metarl_robot.cli.launch_check import check_controller

    for name in names:
        check_controller(kind, name)


def _prepare(plan: _Plan) -> None:
    """Build every controller once, to find missing weights and to compile code before any node starts."""
    from metarl_robot.control.factory import make_controller, remark_on_weights

    if remark := remark_on_weights(plan.robot, plan.controllers, plan.checkpoint):
        note(remark)
    with err().status("building the controllers"):
        for name in plan.controllers:
            make_controller(plan.robot, name, checkpoint=plan.checkpoint)


@contextmanager
def _told_what_is_kept(folder: Path) -> Iterator[None]:
    """Print which recordings an interrupted demo leaves."""
    try:
        yield
    except KeyboardInterrupt:
        note(f"recordings so far are kept in {folder}; draw them with: metarl plot {folder}", "interrupted")
        raise


def _run_all(plan: _Plan, lockstep: bool) -> str:
    """Run every controller; repeat all in lockstep if the machine cannot keep up with real time.

    Returns the mode in which they ran.
    """
    from metarl_robot.cli.node_run import HeldError

    mode = _LOCKSTEP if lockstep else "real time"
    try:
        for name in plan.controllers:
            _run(plan, name, lockstep)
    except HeldError as error:
        if lockstep:
            raise
        note(f"{error}. Once more in lockstep.", "too slow or too busy for real time")
        for name in plan.controllers:
            _run(plan, name, lockstep=True)
        mode = f"{_LOCKSTEP} (in real time, {error})"
    return mode


def _run(plan: _Plan, controller: str, lockstep: bool) -> None:
    from metarl_robot.cli.demo_task import write_conditions
    from metarl_robot.cli.live import live_view
    from metarl_robot.cli.node_run import HeldError, RunFiles, run_nodes

    arguments = {
        "robot": plan.robot_name,
        "controller": controller,
        "checkpoint": "" if plan.checkpoint is None else str(plan.checkpoint.resolve()),
        "lockstep": str(lockstep).lower(),
        "view": str(plan.view).lower(),
        **plan.task.arguments,
        "params": str(write_conditions(plan.task, plan.folder)),
    }
    files = RunFiles(plan.folder / controller, plan.folder / f"{controller}.log")
    changes = [(change.time_s, change.what) for change in plan.task.changes]
    with live_view(f"{plan.robot.name}, {controller}", plan.duration_s, changes) as view:
        stop = run_nodes(plan.task.launch, files, arguments, plan.robot_name, plan.duration_s, view.show)
    if stop and not lockstep:
        raise HeldError(stop)


def _conclude(plan: _Plan, mode: str, json: bool) -> None:
    """Write tables, summary and report, all computed from the recordings."""
    from metarl_robot.cli.recording import read_runs
    from metarl_robot.cli.report import write_report
    from metarl_robot.cli.run_metrics import result_of

    with err().status("reading the recordings, writing the report"):
        runs = read_runs([plan.folder / name for name in plan.controllers])
        results = [result_of(run, _SCENARIO, plan.task.seed) for run in runs]
        facts = _facts(plan, mode)
        summary = {
            **_summary(plan.robot, results),
            "facts": facts,
            "duration_s": plan.duration_s,
            "change_s": plan.task.change_s,
        }
        write_json(summary, plan.folder / "summary.json")
        report = write_report(plan.folder / "report.html", runs, results, facts, _commands(plan.folder))
    if json:
        write_json(summary)
    else:
        _print(plan.robot, results)
    note(f"report: {report}")


def _summary(robot: Robot, results: Sequence[Result]) -> dict[str, Any]:
    """The JSON of `metarl eval --json`, with the quantities and missed deadlines of each episode."""
    from metarl_robot.sim.evaluate import Evaluation

    evaluation = Evaluation(robot.name, _SCENARIO, tuple(result.score for result in results))
    return {**evaluation.to_json(), "episodes": [result.to_dict() for result in results]}


def _facts(plan: _Plan, mode: str) -> dict[str, str]:
    before = plan.task.before
    return {
        "robot": f"{plan.robot.name}: {plan.robot.description.description}",
        "time": mode,
        "seed": str(plan.task.seed),
        "delays": f"commands {1e3 * before.command_delay_s:.1f} ms, sensors {1e3 * before.sensor_delay_s:.1f} ms",
        "machine": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "date": datetime.now().strftime("%Y-%m-%d %H:%M"),
        "command": " ".join(["metarl", *sys.argv[1:]]),
    }


def _commands(folder: Path) -> list[str]:
    return [
        f"metarl plot {folder}                        # draw this report again",
        f"metarl plot {folder} --out error.png        # one figure",
    ]


def _print(robot: Robot, results: Sequence[Result]) -> None:
    from metarl_robot.cli import run_tables

    console = out()
    for view in run_tables.tables(results, robot.wording):
        console.print(run_tables.to_rich(view))
