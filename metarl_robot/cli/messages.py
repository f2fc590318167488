# SPDX-License-Identifier: Apache-2.0
"""`metarl messages`: packages of ROS 2 messages that PyPI lacks, built once into the user's cache."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from metarl_robot.cli.console import examples, note, out, table, write_json

_LIST = examples(
    ("metarl messages list", "the packages that we define, and whether they are installed or built"),
    ("metarl messages list --json", "the same with all types, for programs"),
)
_BUILD = examples(
    ("metarl messages build", "all of ours that are not installed, before the first start of a node"),
    ("metarl messages build my_msgs", "your own package: a folder with msg/, srv/ or action/"),
    note="Needs gcc and g++. Each package is built once, into the cache ($METARL_CACHE); our nodes build what they "
    "need at their first start. Programs of your own find a package by PYTHONPATH, as printed. A package that yours "
    "needs is taken from ROS 2, from ours, or from a folder beside it.",
)


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    group = typer.Typer(no_args_is_help=True, help="ROS 2 messages that PyPI lacks: list them, build them.")
    group.command("list", epilog=_LIST)(list_packages)
    group.command("build", epilog=_BUILD)(build)
    app.add_typer(group, name="messages")


def list_packages(json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the packages of messages that we define."""
    from metarl_robot.ros_nodes.messages.package import shipped, shipped_names

    rows = [_describe(shipped(name)) for name in shipped_names()]
    if json:
        write_json(rows)
        return
    listing = table("Messages", ("package", "types", "state"))
    for row in rows:
        listing.add_row(row["package"], escape("\n".join(row["types"])), row["state"])
    out().print(listing)


def _describe(package: Any) -> dict[str, Any]:
    from metarl_robot.ros_nodes.messages.build import is_built
    from metarl_robot.ros_nodes.messages.provide import is_importable

    built = "built" if is_built(package) else "not built"
    state = "installed" if is_importable(package.name) else built
    short = [name.removeprefix(f"{package.name}/") for name in package.types]
    return {"package": package.name, "types": short, "state": state, "folder": package.folder}


def build(
    folder: Annotated[
        Path | None, typer.Argument(metavar="DIR", help="Your package; without it, all of ours that are not installed.")
    ] = None,
) -> None:
    """Build packages of messages, and print where they are."""
    from metarl_robot.ros_nodes.messages.build import build as build_package
    from metarl_robot.ros_nodes.messages.package import package_at, shipped, shipped_names
    from metarl_robot.ros_nodes.messages.provide import is_importable

    ours = (name for name in shipped_names() if not is_importable(name))
    packages = [shipped(name) for name in ours] if folder is None else [package_at(folder)]
    if not packages:
        note("all packages are installed: nothing to build")
    places: list[Path] = []
    for package in packages:
        built = build_package(package, note)
        out().print(f"{package.name}: {len(package.files)} types in {built.tree}", soft_wrap=True, highlight=False)
        places += built.python_folders
    if places:
        joined = os.pathsep.join(dict.fromkeys(map(str, places)))
        out().print(f"export PYTHONPATH={joined}:$PYTHONPATH", soft_wrap=True, highlight=False, markup=False)
