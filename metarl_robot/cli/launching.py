# SPDX-License-Identifier: Apache-2.0
"""`metarl launch`: starts the nodes of a YAML launch file, also without ROS 2's `launch` package."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from metarl_robot.cli.console import examples

_EPILOG = examples(
    ("metarl launch arm --show-args", "its arguments, with choices and defaults"),
    ("metarl launch arm robot:=panda controller:=pid", "simulated Panda, PID; Ctrl-C stops everything"),
    ("metarl launch my_robot.launch.yaml plant:=none", "your own file; a real robot's driver is the plant"),
    note="The same files work with 'ros2 launch'. Each line of output is prefixed with the process that wrote it.",
)


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("launch", epilog=_EPILOG)(launch)


def launch(
    file: Annotated[
        str, typer.Argument(metavar="FILE_OR_NAME", help="A launch file, or one of ours: arm, quad, ground.")
    ],
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="[ARG:=VALUE]...", help="Arguments of the launch file.")
    ] = None,
    show_args: Annotated[bool, typer.Option("--show-args", "-s", help="Show the file's arguments and exit.")] = False,
) -> None:
    """Start the nodes of a launch file and run until they end or Ctrl-C."""
    values = parse_arguments(arguments or [])
    import metarl_robot.cli.launch as runner

    if show_args:
        typer.echo(runner.show_args(file))
        return
    raise typer.Exit(runner.run_launch(file, values))


def parse_arguments(arguments: Sequence[str]) -> dict[str, str]:
    """Parse `name:=value` pairs. Raises typer.BadParameter for anything else."""
    values = {}
    for argument in arguments:
        name, separator, value = argument.partition(":=")
        if not separator or not name:
            raise typer.BadParameter(
                f"'{argument}': launch arguments are written name:=value, for example controller:=pid"
            )
        values[name] = value
    return values
