# SPDX-License-Identifier: Apache-2.0
"""Tasks as plain data: a frozen dataclass of numbers, vectors and names, checked, and as a dictionary for JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from math import isfinite
from numbers import Real
from typing import Any, Self

from metarl_robot.core.errors import SignalError, one_line
from metarl_robot.sim.task_fields import finite_vector, known_keys, plain


@dataclass(frozen=True, eq=False)
class TaskData:
    """Base of a kind's task whose fields are numbers, vectors and names; a vector keeps the size of its default.

    The kind checks its names.
    """

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(field.default, tuple):
                object.__setattr__(self, field.name, finite_vector(field.name, value, len(field.default)))
            elif not isinstance(field.default, str) and (not isinstance(value, Real) or not isfinite(value)):
                raise SignalError(f"task: {field.name} must be a finite number; given {value!r}")

    def to_dict(self) -> dict[str, Any]:
        """Numbers and lists, ready for JSON."""
        content: dict[str, Any] = plain(asdict(self))
        return content

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Self:
        """Invert to_dict; missing values are the defaults.

        Raises:
            SignalError: a key is unknown or a value of the wrong kind; the message names it.
        """
        try:
            return cls(**known_keys(cls, content))
        except (TypeError, ValueError) as error:
            raise SignalError(f"task: {one_line(error)}") from error
