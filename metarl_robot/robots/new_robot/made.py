# SPDX-License-Identifier: Apache-2.0
"""The result of a conversion, and the call of a kind's own converter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from metarl_robot.core.errors import MetaRLError
from metarl_robot.core.kinds import kind_names
from metarl_robot.core.robot import kind_of, named
from metarl_robot.robots.new_robot.findings import Findings
from metarl_robot.robots.new_robot.options import Options

ARM = "arm"


@dataclass(frozen=True)
class NewRobot:
    """Files of a robot folder by path within it, and the findings.

    difference: largest relative difference of mass matrix and bias force between the source and the new model; None:
    the source has no such model.
    """

    files: Mapping[str, bytes]
    findings: Findings
    difference: float | None = None


def kind_of_file(path: Path) -> str:
    """Kind of the robot in a file: the one that recognises it, else an arm."""
    recognising = (name for name in kind_names() if kind_of(name).reads_file)
    return next((name for name in recognising if named(kind_of(name).reads_file)(path)), ARM)


def convert(kind: str, path: Path, name: str, options: Options) -> NewRobot:
    """Convert a file into a robot called `name`. Raises MetaRLError with element and remedy."""
    place = kind_of(kind).from_file
    if not place:
        raise MetaRLError(f"a robot of kind '{kind}' cannot be made from a file: write its robot.yaml")
    made: NewRobot = named(place)(path, name, options)
    return made
