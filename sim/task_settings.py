# SPDX-License-Identifier: Apache-2.0
"""Conditions that a user sets on top of those of a scenario or a file."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict


class TaskSettings(BaseModel):
    """Settings of a task; this class has none.

    A kind's simulation names its own subclass (sim/kinds.py: `Simulation.task_settings`). Each field is a parameter
    `task.<name>` of the plant node, with its description, default and range.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    @property
    def begins_s(self) -> float | None:
        """Time from which the settings apply [s]; None: nothing is set."""
        return None

    def applied(self, task: Any) -> Any:
        """The task under these settings."""
        return task
