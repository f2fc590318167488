# SPDX-License-Identifier: Apache-2.0
"""A robot file as compiled by MuJoCo, with the data that MuJoCo does not keep."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import mujoco

from metarl_robot.core.errors import RobotError


@dataclass(frozen=True)
class Source:
    """A robot file.

    path: the file. is_urdf: its format. model: compiled, every joint and body named. lines: (tag, name) → line of an
    element in the file. velocity_limits: joint → its limit [rad/s, m/s], where the file states one. mimics: joints that
    copy another one's position. base: name of the root link.
    """

    path: Path
    is_urdf: bool
    model: mujoco.MjModel
    lines: Mapping[tuple[str, str], int]
    base: str
    velocity_limits: Mapping[str, float] = field(default_factory=dict)
    mimics: frozenset[str] = frozenset()

    def place(self, tag: str, name: str) -> str:
        """An element for a message: "joint 'a' (line 3)"."""
        line = self.lines.get((tag, name))
        return f"{tag} '{name}'" if line is None else f"{tag} '{name}' (line {line})"

    def refusal(self, element: str, said: str, remedy: str) -> RobotError:
        """The error that names an element, the fault and the remedy."""
        return RobotError(f"{self.path}: {element}: {said}; {remedy}")
