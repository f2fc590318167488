"""The `metarl` command: one sub-command a file, heavy libraries imported only by the command that needs them.

Exit codes: 0 done, 1 refused or failed (one paragraph on stderr says why), 2 wrong usage, 130 interrupted by Ctrl-C.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from metarl_robot import __version__
from metarl_robot.cli import bench, demo, evaluation, info, launching, plot, robots, train
from metarl_robot.cli.console import err, examples
from metarl_robot.errors import MetaRLError

_EPILOG = examples(
    ("metarl demo panda", "an unknown payload, with and without adaptation"),
    ("metarl eval panda --controllers nominal_mpc,meta_mpc", "closed loop in MuJoCo, no ROS"),
    ("metarl launch arm controller:=meta_mpc", "the nodes of a launch file"),
    ("metarl COMMAND --help", "what a command does, with examples"),
)


class _Group(TyperGroup):
    """Turns the errors that commands raise into one paragraph and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (MetaRLError, OSError) as error:
            if ctx.params.get("debug") or isinstance(error, BrokenPipeError):
                raise
            err().print(f"[bold red]error:[/] {_escaped(str(error))}", highlight=False, soft_wrap=True)
            raise typer.Exit(1) from error


def _escaped(text: str) -> str:
    return text.replace("[", "\\[")


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
    debug: Annotated[bool, typer.Option("--debug", envvar="METARL_DEBUG", help="Show the traceback of an error.")] = False,
    version: Annotated[bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")] = False,
) -> None:
    """Options of every command."""


for _module in (robots, demo, train, evaluation, launching, plot, bench, info):
    _module.register(app)


def main() -> None:
    """Entry point of the `metarl` script."""
    app()


if __name__ == "__main__":
    main()
