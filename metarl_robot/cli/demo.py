"""`metarl demo`: an arm over real ROS 2 picks up an unknown payload, without and with adaptation; recordings, table and report."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from metarl_robot.cli.console import err, examples, out, parse_names, write_json
from metarl_robot.errors import UnknownNameError

if TYPE_CHECKING:
    from metarl_robot.cli.demo_task import DemoTask
    from metarl_robot.cli.run_metrics import Result
    from metarl_robot.robot import Robot

_EPILOG = examples(
    ("metarl demo panda", "about a minute, in real time"),
    ("metarl demo panda --lockstep", "for slow machines: simulated time waits for the controller; the same result everywhere"),
    ("metarl demo panda --payload-mass 2.5 --payload-offset 0.05,0,0.08 --seed 3", "a payload and a motion of your choice"),
    ("metarl demo panda --controllers pid,offset_free_mpc,meta_mpc", "other rivals"),
    note="Left in runs/<time>/: report.html, summary.json, and for each controller an MCAP recording of all topics and the nodes' output.",
)
_SCENARIO = "demo"
_LOCKSTEP = "lockstep: simulated time waits for every command"


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("demo", epilog=_EPILOG)(demo)


def demo(
    robot: Annotated[str, typer.Argument(metavar="ROBOT", help="A robot's name (metarl robots).")],
    controllers: Annotated[str, typer.Option(help="Which controllers, one after the other, separated by commas.")] = "nominal_mpc,meta_mpc",
    lockstep: Annotated[bool, typer.Option("--lockstep", help="Simulated time waits for every command, whatever the machine.")] = False,
    duration: Annotated[float, typer.Option(min=6.5, max=11.0, help="Length of each run in seconds; the pick-up is at 5 s.")] = 10.0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of motion, payload and sensor noise.")] = 0,
    payload_mass: Annotated[float | None, typer.Option(min=0.0, help="Mass of the payload in kg; default: drawn.")] = None,
    payload_offset: Annotated[str | None, typer.Option(metavar="X,Y,Z", help="Its centre of mass in the flange's frame, in m.")] = None,
    out_folder: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where a folder for this run is made.")] = Path("runs"),
    json: Annotated[bool, typer.Option("--json", help="Print summary.json on standard output instead of tables.")] = False,
) -> None:
    """Let an arm pick up a payload that its controller is not told about, over real ROS 2 nodes: first without, then with adaptation."""
    from metarl_robot.cli.demo_task import demo_task
    from metarl_robot.robot import load_robot

    loaded, names = load_robot(robot), parse_names(controllers)
    _check_controllers(names)
    offset = None if payload_offset is None else _vector(payload_offset)
    task = demo_task(loaded, seed, payload_mass, offset)
    _prepare(loaded, names)
    folder = out_folder / datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    with _told_what_is_kept(folder):
        mode = _run_all(loaded, robot, names, task, folder, duration, lockstep)
    _conclude(loaded, names, task, folder, duration, mode, json)


def _check_controllers(names: Sequence[str]) -> None:
    """Raises UnknownNameError for a controller that the launch file does not start."""
    from metarl_robot.cli.launch_file import declared_arguments, find_launch_file
    from metarl_robot.cli.node_run import LAUNCH_FILE

    choices = next(argument.choices for argument in declared_arguments(find_launch_file(LAUNCH_FILE)) if argument.name == "controller")
    for name in names:
        if name not in choices:
            raise UnknownNameError("controller", name, choices)


def _vector(text: str) -> tuple[float, ...]:
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if len(values) != 3:
        raise typer.BadParameter(f"'{text}': expected three numbers in m, such as 0.05,0,0.08")
    return values


def _prepare(robot: Robot, names: Sequence[str]) -> None:
    """Build every controller once: missing weights are noticed before anything is started, and compiled code is ready."""
    from metarl_robot.control.factory import make_controller

    console = err()
    with console.status("building the controllers"):
        for name in names:
            make_controller(robot, name)


@contextmanager
def _told_what_is_kept(folder: Path) -> Iterator[None]:
    """Say what an interrupted demo leaves behind."""
    try:
        yield
    except KeyboardInterrupt:
        err().print(f"[yellow]interrupted:[/] recordings so far are kept in {folder}; draw them with: metarl plot {folder}")
        raise


def _run_all(
    robot: Robot, name_or_folder: str, names: Sequence[str], task: DemoTask, folder: Path, duration_s: float, lockstep: bool
) -> str:
    """Run every controller; where the machine cannot keep up with real time, once more in lockstep. Returns in what time they ran."""
    from metarl_robot.cli.node_run import HeldError

    mode = _LOCKSTEP if lockstep else "real time"
    try:
        for name in names:
            _run(robot, name_or_folder, name, task, folder, duration_s, lockstep)
    except HeldError as error:
        if lockstep:
            raise
        err().print(f"[yellow]too slow or too busy for real time:[/] {error}. Once more in lockstep.", highlight=False)
        for name in names:
            _run(robot, name_or_folder, name, task, folder, duration_s, lockstep=True)
        mode = f"{_LOCKSTEP} (in real time, {error})"
    return mode


def _run(robot: Robot, name_or_folder: str, controller: str, task: DemoTask, folder: Path, duration_s: float, lockstep: bool) -> None:
    from metarl_robot.cli.live import live_view
    from metarl_robot.cli.node_run import RunFiles, run_nodes

    arguments = {
        "robot": name_or_folder,
        "controller": controller,
        "lockstep": str(lockstep).lower(),
        "reference": "suite",
        "suite": "heldout",
        "scenario": "pickup",
        "seed": str(task.seed),
        "params": str(task.write(folder)),
    }
    files = RunFiles(folder / f"{controller}.mcap", folder / f"{controller}.log")
    with live_view(f"{robot.name}, {controller}", duration_s, task.change_s) as view:
        run_nodes(files, arguments, name_or_folder, duration_s, view.show)


def _conclude(robot: Robot, names: Sequence[str], task: DemoTask, folder: Path, duration_s: float, mode: str, json: bool) -> None:
    """Tables, summary and report, all from the recordings."""
    from metarl_robot.cli.recording import read_runs
    from metarl_robot.cli.report import write_report
    from metarl_robot.cli.run_metrics import result_of

    with err().status("reading the recordings, writing the report"):
        runs = read_runs([folder / f"{name}.mcap" for name in names])
        results = [result_of(run, _SCENARIO, task.seed) for run in runs]
        facts = _facts(robot, task, mode)
        summary = {**_summary(robot, results), "facts": facts, "duration_s": duration_s, "change_s": task.change_s}
        write_json(summary, folder / "summary.json")
        report = write_report(folder / "report.html", runs, results, facts, _commands(folder))
    if json:
        write_json(summary)
    else:
        _print(results)
    err().print(f"report: {report}", highlight=False, soft_wrap=True)


def _summary(robot: Robot, results: Sequence[Result]) -> dict[str, Any]:
    """As `metarl eval --json`, with the payload and the deadlines of each episode."""
    from metarl_robot.sim.evaluate import Evaluation

    evaluation = Evaluation(robot.name, _SCENARIO, tuple(result.score for result in results))
    return {**evaluation.to_json(), "episodes": [result.to_dict() for result in results]}


def _facts(robot: Robot, task: DemoTask, mode: str) -> dict[str, str]:
    return {
        "robot": f"{robot.name}: {robot.description.description}",
        "time": mode,
        "seed": str(task.seed),
        "delays": f"commands {1e3 * task.before.command_delay_s:.1f} ms, sensors {1e3 * task.before.sensor_delay_s:.1f} ms",
        "machine": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "date": datetime.now().strftime("%Y-%m-%d %H:%M"),
        "command": " ".join(["metarl", *sys.argv[1:]]),
    }


def _commands(folder: Path) -> list[str]:
    return [
        f"metarl plot {folder}                        # draw this report again",
        f"metarl plot {folder} --out error.png        # one figure",
    ]


def _print(results: Sequence[Result]) -> None:
    from metarl_robot.cli import run_tables

    console = out()
    for view in (run_tables.error_table(results), run_tables.payload_table(results), run_tables.timing_table(results)):
        console.print(run_tables.to_rich(view))
