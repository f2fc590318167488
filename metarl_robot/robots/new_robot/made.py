# SPDX-License-Identifier: Apache-2.0
"""The result of a conversion, and the call of a kind's own converter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from metarl_robot.core.errors import MetaRLError
from metarl_robot.core.robot import kind_of, named
from metarl_robot.robots.new_robot.findings import Findings
from metarl_robot.robots.new_robot.options import Options


@dataclass(frozen=True)
class NewRobot:
    """Files of a robot folder by path within it, and the findings.

    difference: largest relative difference of mass matrix and bias force between the source and the new model.
    """

    files: Mapping[str, bytes]
    findings: Findings
    difference: float


def convert(kind: str, path: Path, name: str, options: Options) -> NewRobot:
    """Convert a file into a robot called `name`. Raises MetaRLError with element and remedy."""
    place = kind_of(kind).from_file
    if not place:
        raise MetaRLError(f"a robot of kind '{kind}' cannot be made from a file: write its robot.yaml")
    made: NewRobot = named(place)(path, name, options)
    return made
