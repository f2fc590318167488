# SPDX-License-Identifier: Apache-2.0
"""Findings of a conversion: every value of the new robot with its origin, and every change that was made."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum


class Origin(Enum):
    """Source of a value."""

    FILE = "file"
    OPTION = "option"
    DEFAULT = "default"
    GUESS = "guess"


@dataclass(frozen=True)
class Value:
    """A value of the new robot. of: the joint, or the key of robot.yaml. detail: where it stands, or the rule."""

    of: str
    what: str
    value: str
    origin: Origin
    detail: str = ""


@dataclass
class Findings:
    """Values with their origins; changes: parts of the file that were converted or left out, as sentences.

    warnings: facts that the user should check.
    """

    values: list[Value] = field(default_factory=list)
    changes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def add(self, of: str, what: str, value: str, origin: Origin, detail: str = "") -> None:
        """Record a value."""
        self.values.append(Value(of, what, value, origin, detail))

    @property
    def guesses(self) -> tuple[Value, ...]:
        """The values that were guessed."""
        return tuple(value for value in self.values if value.origin is Origin.GUESS)
