# SPDX-License-Identifier: Apache-2.0
"""`metarl view`: a robot in the browser, live with buttons that disturb it, or played from recordings."""

from __future__ import annotations

import signal
from functools import partial
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Annotated

import typer

from metarl_robot.cli.console import examples, note
from metarl_robot.view import LOCALHOST, check_installed

if TYPE_CHECKING:
    from metarl_robot.cli.runlog import RunLog
    from metarl_robot.view.moment import Moment

_EPILOG = examples(
    ("metarl view panda", "a simulated arm under meta_mpc; open the address that it prints"),
    ("metarl view x500 --controller offset_free_mpc", "a quadrotor with another controller"),
    ("metarl view runs/2026-11-29_10-00-00/*/", "recordings of a demo, side by side in one list"),
    ("metarl view panda --listen", "a robot that runs already, on this ROS domain"),
    note=(
        "Over SSH: ssh -L 8080:localhost:8080 HOST, then open http://localhost:8080 at home. Launch files have the "
        "same page: metarl launch arm view:=true."
    ),
)


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("view", epilog=_EPILOG)(view)


def view(
    shown: Annotated[
        list[str], typer.Argument(metavar="ROBOT|RECORDING...", help="A robot's name or folder, or recorded runs.")
    ],
    controller: Annotated[str, typer.Option(help="Controller of the simulated robot.")] = "meta_mpc",
    listen: Annotated[bool, typer.Option("--listen", help="Simulate nothing; show a robot that runs already.")] = False,
    lockstep: Annotated[
        bool, typer.Option("--lockstep", help="Simulated time waits for every command; for slow machines.")
    ] = False,
    host: Annotated[
        str, typer.Option(help="Address to serve at. Another than this machine's own lets others move the robot.")
    ] = LOCALHOST,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the page.")] = 8080,
) -> None:
    """Show a robot in the browser: live, with buttons that disturb it, or from recordings."""
    check_installed()
    recordings = [Path(name) for name in shown if _is_recording(Path(name))]
    if len(recordings) == len(shown):
        _play(recordings, host, port)
    elif len(shown) > 1:
        wrong = [name for name in shown if Path(name) not in recordings]
        raise typer.BadParameter(f"{', '.join(wrong)}: not a recording; give one robot, or recordings only")
    else:
        raise typer.Exit(_live(shown[0], controller, listen, lockstep, host, port))


def _is_recording(path: Path) -> bool:
    return path.suffix == ".mcap" or (path.is_dir() and any(path.glob("*.mcap")))


def _live(robot: str, controller: str, listen: bool, lockstep: bool, host: str, port: int) -> int:
    """Launch a simulated robot with its page, or the page alone; returns the exit code."""
    from metarl_robot.cli.launch import run_launch
    from metarl_robot.cli.launch_check import launch_file_for
    from metarl_robot.core.robot import load_robot

    kind = load_robot(robot).kind
    page = {"robot": robot, "controller": controller, "view_host": host, "view_port": str(port)}
    if listen:
        return run_launch("view", page)
    return run_launch(launch_file_for(kind), {**page, "view": "true", "lockstep": str(lockstep).lower()})


def _play(paths: list[Path], host: str, port: int) -> None:
    """Play recordings until Ctrl-C."""
    from metarl_robot.cli.recording import read_runs
    from metarl_robot.core.robot import load_robot
    from metarl_robot.view.page import Page, serve
    from metarl_robot.view.player import Player, Recorded

    runs = read_runs(paths)
    robot = load_robot(runs[0].robot)
    server = serve(host, port)
    recorded = {
        run.label: Recorded(float(run.time_s[0]), float(run.time_s[-1]), partial(moment_at, run)) for run in runs
    }
    player = Player(server, Page(server, robot), recorded)
    note(f"open http://{host}:{server.get_port()}; Ctrl-C ends it", "view")
    stop = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    player.play(stop)
    server.stop()


def moment_at(run: RunLog, time_s: float) -> Moment:
    """The newest state of a run at a time, with the estimates of that time."""
    import numpy as np

    from metarl_robot.view.moment import Moment

    i = max(int(np.searchsorted(run.time_s, time_s + 1e-9, side="right")) - 1, 0)
    k = int(np.searchsorted(run.step_time_s, time_s + 1e-9, side="right")) - 1
    estimates = {
        f"{name} {quantity.title}": (float(mean), float(std), quantity.unit)
        for name, series in run.estimates.items()
        for quantity, mean, std in zip(series.report.quantities, *series.at(time_s), strict=True)
        if quantity.scored and np.isfinite(mean)
    }
    return Moment(
        float(run.time_s[i]),
        run.q[i],
        run.position_m[i],
        run.q_reference[i],
        run.position_reference_m[i],
        estimates=estimates,
        error_m=float(run.error_m[i]),
        step_ms=float(run.step_ms[k]) if k >= 0 else None,
    )
