"""`metarl launch`: runs YAML launch files where ROS 2's own `launch` is not installed. What of the format: launch_file.py."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from metarl_robot.cli.launch_file import Argument, LaunchError, declared_arguments, find_launch_file, find_share
from metarl_robot.cli.launch_process import Launch, Output, print_line

LISTENING_S = 0.5
"""How often a launch looks whether anybody still reads its output."""

__all__ = ["Launch", "LaunchError", "find_share", "run_launch", "show_args"]


def show_args(file_or_name: str | Path) -> str:
    """The arguments of a launch file, as `ros2 launch --show-args` prints them."""
    arguments = declared_arguments(find_launch_file(file_or_name))
    if not arguments:
        return "Arguments (pass arguments as '<name>:=<value>'):\n\n  No arguments."
    return "\n".join(["Arguments (pass arguments as '<name>:=<value>'):", *(_describe(argument) for argument in arguments)])


def run_launch(file_or_name: str | Path, arguments: Mapping[str, str] | None = None, on_output: Output = print_line) -> int:
    """Run a launch file until all its processes have ended, or until SIGINT (Ctrl-C) or SIGTERM.

    Returns:
        0, or 1 when a process failed.

    Raises:
        LaunchError, UnknownNameError: nothing was started.
    """
    launch = Launch(file_or_name, arguments, on_output)
    with _signals_as_interrupts():
        try:
            launch.start()
            while not launch.wait(LISTENING_S) and not launch.unheard:
                pass
        except KeyboardInterrupt:
            on_output("launch", "[WARNING] [launch]: user interrupted, stopping")
        finally:
            code = _stop(launch)
    return code


def _stop(launch: Launch) -> int:
    try:
        return launch.stop()
    except KeyboardInterrupt:  # a second Ctrl-C: no more waiting
        return launch.stop(grace_s=0.2)


def _describe(argument: Argument) -> str:
    description = argument.description
    if argument.choices:
        description = f"{description.removesuffix('.')}. Valid choices are: {list(argument.choices)}"
    lines = [f"\n    '{argument.name}':", f"        {description}"]
    if argument.default is not None:
        lines.append(f"        (default: '{argument.default}')")
    return "\n".join(lines)


@contextmanager
def _signals_as_interrupts() -> Iterator[None]:
    """SIGTERM ends a launch as Ctrl-C does."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
