# SPDX-License-Identifier: Apache-2.0
"""`metarl robots`: lists the available robots."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.markup import escape

from metarl_robot.cli.console import examples, out, table, write_json

_EPILOG = examples(
    ("metarl robots", "a table"),
    ("metarl robots --json", "the same with all properties and limits, for programs"),
    note="Your own robot is a folder with robot.yaml, and for an arm also robot.xml (MJCF). A command that takes a "
    "robot's name also takes such a folder.",
)


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("robots", epilog=_EPILOG)(robots)


def robots(
    json: Annotated[
        bool, typer.Option("--json", help="Print JSON: properties, limits and rates of every robot.")
    ] = False,
) -> None:
    """List the available robots."""
    found = _all_robots()
    rows = [_describe(robot) for robot in found]
    if json:
        write_json(rows)
        return
    listing = table("Robots", ("name", "kind", "driven", "control", "rated", "trained", "description"))
    for robot, row in zip(found, rows, strict=True):
        trained = "yes" if row["checkpoint"] else "no"
        rate = f"{row['control_rate_hz']:g} Hz"
        rated = ", ".join(f"{item.title} {value:g} {item.unit}" for item, value in robot.ratings) or "none"
        driven = f"{len(row['channels'])} {row['driven']}s"
        listing.add_row(row["name"], row["kind"], driven, rate, rated, trained, escape(row["description"]))
    out().print(listing)


def _all_robots() -> list[Any]:
    from metarl_robot.core.robot import available_robots, load_robot

    return [load_robot(name) for name in available_robots()]


def _describe(robot: Any) -> dict[str, Any]:
    from metarl_robot.core.robot import RobotFile

    checkpoint = robot.folder / "dynamics.safetensors"
    return {
        "name": robot.name,
        "kind": robot.kind,
        "description": robot.description.description,
        "control_rate_hz": robot.description.control_rate_hz,
        **{item.name: value for item, value in robot.ratings},
        "driven": robot.wording.channel,
        "channels": robot.channel_names,
        **robot.description.model_dump(mode="json", exclude=set(RobotFile.model_fields)),
        "folder": robot.folder,
        "checkpoint": checkpoint if checkpoint.is_file() else None,
    }
