# SPDX-License-Identifier: Apache-2.0
"""`metarl log identify`: nominal parameters from recordings, and a new robot folder with them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import typer
from rich.markup import escape
from rich.table import Table

from metarl_robot.cli.console import note, number, out, table, write_json
from metarl_robot.cli.progress import progress
from metarl_robot.core.errors import shortened

if TYPE_CHECKING:
    from metarl_robot.core.robot import Robot
    from metarl_robot.logs.recording import Recording


def run(robot: Robot, recordings: Sequence[Recording], folder: Path | None, force: bool, json: str | None) -> None:
    """Identify, report, and write the folder where held-out recordings are predicted better."""
    from metarl_robot.core.mjcf_robot import MjcfRobot
    from metarl_robot.logs.identified_document import document
    from metarl_robot.logs.identify import identify
    from metarl_robot.logs.recording import LogError
    from metarl_robot.robots.new_robot.folder import check_free

    if not isinstance(robot, MjcfRobot):
        raise LogError(
            f"a robot of kind '{robot.kind}' cannot be identified; allowed: robots with a robot.xml, such as arms, and "
            "quadrotors"
        )
    if folder is not None:
        check_free(folder, force)
    with progress() as report:
        found = identify(robot, recordings, report)
    content = document(found)
    if json is not None:
        write_json(content, json)
    if json != "-":
        _print(robot, content)
    if content["over_nominal"] >= 1.0:
        said = "the identified robot predicts held-out recordings no better than the nominal one; nothing is written"
        note(f"{said}: record longer and faster motions of all joints", "error", "bold red")
        raise typer.Exit(1)
    if folder is not None:
        _write(found, content, folder)


def _write(found: Any, content: dict[str, Any], folder: Path) -> None:
    from metarl_robot.core.robot import load_robot
    from metarl_robot.logs.identified_folder import folder_files
    from metarl_robot.robots.new_robot.folder import write_folder

    write_folder(folder, folder_files(found, content), load_robot)
    note(f"{folder}: written; next: metarl robot check {folder}, metarl log eval {folder} LOG")


def _print(robot: Robot, content: dict[str, Any]) -> None:
    console = out()
    console.print(_links(content))
    console.print(_joints(content))
    console.print(_held_out(robot, content))
    shown = sum(each["shown"] for each in content["base"])
    delay = content["delay"]
    error = f"{1e3 * delay['after']:.2f} ± {1e3 * delay['standard_error']:.2f} ms"
    console.print(
        f"The recordings show {shown} of {len(content['base'])} base inertial parameters; the others, and those in "
        f"brackets, are those of the robot given. Delay from an effort to its effect: {error}.",
        highlight=False,
    )


_CAPTION = (
    "Before → after ± standard error (change in standard errors). In brackets: the recordings do not show it, and it "
    "keeps its prior."
)


def _links(content: dict[str, Any]) -> Table:
    columns = ("link", "mass [kg]", *(f"centre {axis} [mm]" for axis in "xyz"))
    view = table(f"{content['robot']}: links", columns, caption=_CAPTION)
    for link in content["links"]:
        mass, *centre = link["parameters"][:4]
        view.add_row(escape(shortened(link["name"])), _change(mass, 1.0), *(_change(each, 1e3) for each in centre))
    return view


def _joints(content: dict[str, Any]) -> Table:
    columns = (
        *("joint", "moves\n[s]", "armature\n[kg m²]", "viscous friction\n[Nm s]"),
        *("Coulomb friction\n[Nm]", "motor strength"),
    )
    view = table(f"{content['robot']}: joints", columns)
    for joint in content["joints"]:
        view.add_row(
            escape(joint["name"]), number(joint["moving_s"]), *(_change(each, 1.0) for each in joint["parameters"][:4])
        )
    return view


def _change(parameter: dict[str, Any], scale: float) -> str:
    before, after, error = (scale * parameter[key] for key in ("before", "after", "standard_error"))
    digits = max(0, min(6, 1 - int(np.floor(np.log10(max(error, 1e-9))))))
    text = f"{before:.{digits}f} → {after:.{digits}f} ± {error:.{digits}f} ({parameter['sigmas']:+.1f})"
    return text if parameter["shown"] else f"[dim]\\[{text}][/]"


def _held_out(robot: Robot, content: dict[str, Any]) -> Table:
    columns = ("held out", "nominal [% of limit]", "identified [% of limit]", "ratio")
    caption = "Force that the model misses in recordings that the fit did not see, root mean square, mean over joints."
    view = table(f"{content['robot']}: cross-validation", columns, caption=caption)
    for fold in content["held_out"]:
        before, after = (float(np.mean(100.0 * fold[key] / robot.effort_limit)) for key in ("nominal", "identified"))
        view.add_row(escape(shortened(fold["name"])), number(before), number(after), f"{after / before:.2f}")
    return view
