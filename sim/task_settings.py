# SPDX-License-Identifier: Apache-2.0
"""Conditions that a user sets on top of those of a scenario or a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Self, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from metarl_robot.core.errors import MetaRLError
from metarl_robot.core.validation import faults

Run = TypeVar("Run")


class TaskSettings(BaseModel):
    """Settings of a task; this class has none.

    A kind's simulation names its own subclass (sim/kinds.py: `Simulation.task_settings`). Each field is a parameter
    `task.<name>` of the plant node and a setting of `metarl eval`, with its description, default and range.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """Validate values by name; numbers may be text. Raises MetaRLError with the valid names or ranges."""
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            raise MetaRLError(f"settings of the conditions: {faults(error, cls)}") from error

    @property
    def begins_s(self) -> float | None:
        """Time from which the settings apply [s]; None: nothing is set."""
        return None

    def applied(self, task: Any) -> Any:
        """The task under these settings."""
        return task


def with_settings(run: Run, settings: TaskSettings) -> Run:
    """A dataclass with `initial` and `changes`, such as a Scenario, under settings from the time on that they begin."""
    base: Any = run
    if settings.begins_s is None:
        return run
    moments = sorted({settings.begins_s, *(time for time, _ in base.changes)})
    changes = []
    for moment in moments:
        task = [base.initial, *(task for time, task in base.changes if time <= moment)][-1]
        changes.append((moment, settings.applied(task) if moment >= settings.begins_s else task))
    if changes[0][0] <= 0.0:
        base = replace(base, initial=changes[0][1])
        changes = changes[1:]
    made: Run = replace(base, changes=tuple(changes))
    return made
