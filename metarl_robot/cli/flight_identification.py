# SPDX-License-Identifier: Apache-2.0
"""`metarl log identify` of a quadrotor: nominal parameters from recordings, and a new robot folder with them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.markup import escape
from rich.table import Table

from metarl_robot.cli.console import note, number, out, table, write_json
from metarl_robot.cli.logs import read_all
from metarl_robot.cli.progress import progress
from metarl_robot.core.errors import shortened

if TYPE_CHECKING:
    from metarl_robot.core.robot import Robot


def run(
    robot: Robot,
    logs: Sequence[Path],
    log_map: Path | None,
    measured: tuple[float | None, float | None],
    folder: Path | None,
    force: bool,
    json: str | None,
) -> None:
    """Identify, report, and write the folder where held-out recordings are predicted better.

    measured: mass [kg] and torque ratio [m], where they are known.
    """
    from metarl_robot.core.robot import load_robot
    from metarl_robot.logs.identified_flight_document import flight_document
    from metarl_robot.logs.identified_flight_folder import flight_folder_files
    from metarl_robot.logs.identify_flight import Given, identify_flight, without_lag
    from metarl_robot.robots.new_robot.folder import check_free, write_folder

    if folder is not None:
        check_free(folder, force)
    recordings = read_all(without_lag(robot), logs, log_map)
    with progress() as report:
        found = identify_flight(robot, recordings, Given(*measured), report)
    content = flight_document(found)
    if json is not None:
        write_json(content, json)
    if json != "-":
        _print(content)
    for said in content["not_shown"]:
        note(said, "not shown")
    if content["over_nominal"] >= 1.0:
        said = "the identified robot predicts held-out recordings no better than the nominal one; nothing is written"
        note(f"{said}: record longer flights with fast turns and changes of height", "error", "bold red")
        raise typer.Exit(1)
    if folder is not None:
        write_folder(folder, flight_folder_files(found, content), load_robot)
        note(f"{folder}: written; next: metarl log check {folder} LOG, metarl eval {folder}")


def _print(content: dict[str, Any]) -> None:
    console = out()
    console.print(_parameters(content))
    console.print(_ratios(content))
    console.print(_held_out(content))


def _parameters(content: dict[str, Any]) -> Table:
    caption = (
        f"From {content['flown_s']:.0f} s of flight. In brackets: the recordings do not show it, and it keeps its "
        "prior. Thrust: over that of robot.yaml about hover."
    )
    columns = ("parameter", "before", "after", "standard error", "change in\nstandard errors")
    view = table(f"{content['robot']}: parameters", columns, caption=caption)
    for each in content["parameters"]:
        name = f"{each['name'].replace('_', ' ')} [{each['unit']}]"
        cells = [f"{each[key]:.4g}" for key in ("before", "after", "standard_error")]
        cells.append("given" if each["given"] else f"{each['sigmas']:+.1f}")
        hidden = not each["shown"] and not each["given"]
        view.add_row(escape(name), *(f"[dim]\\[{cell}][/]" if hidden else cell for cell in cells))
    return view


def _ratios(content: dict[str, Any]) -> Table:
    view = table(f"{content['robot']}: ratios that motion shows", ("ratio", "over nominal", "standard error"))
    for each in content["ratios"]:
        view.add_row(each["name"], f"{each['over_nominal']:.4f}", f"{each['standard_error']:.4f}")
    return view


def _held_out(content: dict[str, Any]) -> Table:
    columns = (
        *("held out", "nominal\n[m/s²]", "identified\n[m/s²]", "nominal\n[rad/s²]", "identified\n[rad/s²]"),
        "ratio",
    )
    caption = "Accelerations that the model misses in recordings that the fit did not see, root mean square."
    view = table(f"{content['robot']}: cross-validation", columns, caption=caption)
    for fold in content["held_out"]:
        pairs = [number(float(fold[key][i])) for i in range(2) for key in ("nominal", "identified")]
        ratio = sum(float(fold["identified"][i] / fold["nominal"][i]) for i in range(2)) / 2.0
        view.add_row(escape(shortened(fold["name"])), *pairs, f"{ratio:.2f}")
    return view
