# SPDX-License-Identifier: Apache-2.0
"""Settings of a kind's demo on the command line: `--set name=value`.

For one release, former options of a kind's demo are accepted, too: `--payload-mass 2` as `--set payload_mass=2`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from functools import cache
from typing import Any

import typer
from typer.core import TyperCommand

SET_HELP = "A setting of the demo; an unknown name lists the valid ones. Repeatable."


def read_settings(texts: Sequence[str]) -> dict[str, Any]:
    """Split texts such as 'payload_com_m=0.05,0,0.08' into settings by name; numbers stay text."""
    pairs = [text.partition("=") for text in texts]
    for text, (name, equals, _) in zip(texts, pairs, strict=True):
        if not name or not equals:
            raise typer.BadParameter(f"'{text}': expected name=value, such as payload_mass_kg=2.5", param_hint="--set")
    return {name: tuple(value.split(",")) if "," in value else value for name, _, value in pairs}


class DemoCommand(TyperCommand):
    """A command with settings of a demo that accepts their former options."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        known = {name for parameter in self.params for name in parameter.opts}
        left: list[str] = super().parse_args(ctx, list(_with_settings(args, known)))
        return left


def _with_settings(arguments: Sequence[str], known: Collection[str]) -> Iterator[str]:
    """Arguments in which former options are replaced by settings."""
    rest = iter(arguments)
    for argument in rest:
        if argument == "--":
            yield from (argument, *rest)
            return
        option, equals, value = argument.partition("=")
        name = option.removeprefix("--").replace("-", "_")
        if option.startswith("--") and option not in known and name in _former_names():
            yield from ("--set", f"{name}={value if equals else next(rest, '')}")
        else:
            yield argument


@cache
def _former_names() -> set[str]:
    """Former names of the demo settings of all kinds."""
    from metarl_robot.core.kinds import kind_names
    from metarl_robot.core.renamed import former_names
    from metarl_robot.core.robot import kind_of, named

    return {name for kind in kind_names() for name in former_names(named(kind_of(kind).simulation).demo_settings)}
