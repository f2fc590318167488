# SPDX-License-Identifier: Apache-2.0
"""`metarl launch`: runs YAML launch files without ROS 2's `launch` package.

launch_file.py defines the supported subset of the format.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType

from metarl_robot.cli.launch_check import offered_controllers
from metarl_robot.cli.launch_file import Argument, LaunchError, declared_arguments, find_launch_file, find_share
from metarl_robot.cli.launch_process import Launch, Output, print_line

LISTENING_S = 0.5
"""Interval between checks whether anybody still reads the output [s]."""
HURRY_S = 1.0
"""Time between SIGINT, SIGTERM and SIGKILL after a second Ctrl-C [s]."""

__all__ = ["Launch", "LaunchError", "find_share", "run_launch", "show_args"]


def show_args(file_or_name: str | Path) -> str:
    """List the arguments of a launch file in the format of `ros2 launch --show-args`."""
    path = find_launch_file(file_or_name)
    arguments = _with_controllers(declared_arguments(path), path)
    if not arguments:
        return "Arguments (pass arguments as '<name>:=<value>'):\n\n  No arguments."
    return "\n".join(
        ["Arguments (pass arguments as '<name>:=<value>'):", *(_describe(argument) for argument in arguments)]
    )


def run_launch(
    file_or_name: str | Path, arguments: Mapping[str, str] | None = None, on_output: Output = print_line
) -> int:
    """Run a launch file until all processes end or a signal arrives.

    The signals are SIGINT (Ctrl-C), SIGTERM and SIGHUP (the terminal was closed).

    Returns:
        0, or 1 when a process failed.

    Raises:
        LaunchError, UnknownNameError: nothing was started.
    """
    launch = Launch(file_or_name, arguments, on_output)
    with _signals_as_interrupts(launch):
        try:
            launch.start()
            while not launch.wait(LISTENING_S) and not launch.unheard:
                pass
        except KeyboardInterrupt:
            launch.say(
                "WARNING",
                "interrupted, stopping; a robot that moves is brought to rest first, a second Ctrl-C ends all at once",
            )
        finally:
            code = _stop(launch)
    return code


def _stop(launch: Launch) -> int:
    try:
        return launch.stop()
    except KeyboardInterrupt:  # second Ctrl-C: stop waiting
        return launch.stop(grace_s=HURRY_S, rest_s=HURRY_S)


def _with_controllers(arguments: Sequence[Argument], path: Path) -> list[Argument]:
    """The arguments; `controller` has the names that the nodes offer, because the file itself lists none."""
    bare = [argument.name == "controller" and not argument.choices for argument in arguments]
    offered = offered_controllers(path) if any(bare) else ()
    return [replace(given, choices=offered) if lists else given for given, lists in zip(arguments, bare, strict=True)]


def _describe(argument: Argument) -> str:
    description = argument.description
    if argument.choices:
        description = f"{description.removesuffix('.')}. Valid choices are: {list(argument.choices)}"
    lines = [f"\n    '{argument.name}':", f"        {description}"]
    if argument.default is not None:
        lines.append(f"        (default: '{argument.default}')")
    return "\n".join(lines)


@contextmanager
def _signals_as_interrupts(launch: Launch) -> Iterator[None]:
    """Treat SIGTERM and the first SIGHUP as Ctrl-C; signals that are ignored (as under nohup(1)) stay ignored."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a session that ends sends SIGHUP more than once
        launch.interrupt()

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
