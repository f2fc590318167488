# SPDX-License-Identifier: Apache-2.0
"""Conditions that a user changes while a simulation runs: a payload, a push, wind, the ground."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from metarl_robot.core.robot import Robot

Vector = tuple[Annotated[float, Field(ge=-1000.0, le=1000.0)], ...]
"""A field of three numbers: give it min_length and max_length 3."""


class Disturbances(BaseModel):
    """Disturbances of a running simulation; this class has none.

    A kind's simulation names its own subclass (sim/kinds.py: `Simulation.disturbances`). Each field is a parameter
    `disturb.<name>` of the plant node, which acts at once. Fields that were never set leave the conditions of the run.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    @classmethod
    def spans(cls, robot: Robot) -> Mapping[str, tuple[float, float]]:
        """Least and greatest value of each field that a slider offers, for one robot."""
        return {}

    def conditions(self) -> Mapping[str, Mapping[str, Any]]:
        """For each field, the fields of a task that it sets, with their values."""
        return {}

    def applied(self, task: Any, names: Collection[str]) -> Any:
        """The task under those of the disturbances. Raises SignalError: the task cannot have them."""
        changed: dict[str, Any] = {}
        for name, values in self.conditions().items():
            changed |= values if name in names else {}
        return replace(task, **changed)
