# SPDX-License-Identifier: Apache-2.0
"""The `metarl` command.

Each sub-command has its own file. Heavy libraries are imported only by the command that needs them.

Exit codes: 0 success; 1 the work failed; 2 wrong usage or bad input; 70 an internal error of this program; 130
interrupted by Ctrl-C. Every non-zero code comes with one paragraph of explanation on stderr.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from metarl_robot import __version__
from metarl_robot.cli import (
    bench,
    calibration,
    demo,
    eval_policy,
    evaluation,
    faults,
    info,
    launching,
    logs,
    messages,
    picture,
    plot,
    robot,
    robots,
    train,
    train_grbal,
    train_policy,
    video,
    view,
)
from metarl_robot.cli.console import examples, forgive_encodings
from metarl_robot.cli.failure import BAD_INPUT, DEFECT, exit_code_of, is_a_reader_gone, paragraph, report_defect, say
from metarl_robot.cli.interruption import is_interrupted
from metarl_robot.core.errors import MetaRLError, shortened

_EPILOG = examples(
    ("metarl demo panda", "an unknown payload, with and without adaptation"),
    ("metarl eval panda --controllers nominal_mpc,meta_mpc", "closed loop in MuJoCo, no ROS"),
    ("metarl launch arm controller:=meta_mpc", "the nodes of a launch file"),
    ("metarl COMMAND --help", "help of a command, with examples"),
)
_LONGEST_ARGUMENT = 4096


class _Group(TyperGroup):
    """Group that turns errors of commands into one paragraph and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (MetaRLError, OSError, ImportError, SystemError) as error:
            if isinstance(error, ImportError | SystemError) and is_interrupted():
                raise KeyboardInterrupt from error
            if isinstance(error, SystemError) or ctx.params.get("debug") or is_a_reader_gone(error):
                raise
            text = paragraph(error)
            if text is None:
                raise
            say(text)
            raise typer.Exit(exit_code_of(error)) from error


app = typer.Typer(
    cls=_Group,
    name="metarl",
    help="Robots that adapt: meta-learned dynamics, model-predictive control, ROS 2.",
    epilog=_EPILOG,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"metarl {__version__}")
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[
        bool, typer.Option("--debug", envvar="METARL_DEBUG", help="Show the traceback of an error.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Options of every command."""


_MODULES = (
    robots,
    robot,
    demo,
    train,
    evaluation,
    train_policy,
    eval_policy,
    train_grbal,
    calibration,
    launching,
    messages,
    logs,
    plot,
    picture,
    video,
    view,
    bench,
    faults,
    info,
)
for _module in _MODULES:
    _module.register(app)


def _check_lengths(arguments: Sequence[str]) -> None:
    """Reject arguments that are longer than the longest path."""
    for argument in arguments:
        if len(argument) > _LONGEST_ARGUMENT:
            say(
                f"an argument has {len(argument)} characters; at most {_LONGEST_ARGUMENT} are allowed: "
                f"{shortened(argument)}"
            )
            raise SystemExit(BAD_INPUT)


def main() -> None:
    """Run the command of this process's arguments."""
    forgive_encodings()
    try:
        _check_lengths(sys.argv[1:])
        app()
    except Exception as error:
        if "--debug" in sys.argv or os.environ.get("METARL_DEBUG"):
            raise
        report_defect(error)
        raise SystemExit(DEFECT) from None
