# SPDX-License-Identifier: Apache-2.0
"""Settings of a vehicle's simulation: the physics of its tyres, and bumps."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

from pydantic import Field

from metarl_robot.sim.ground.task import FORCE
from metarl_robot.sim.task_settings import TaskSettings


class GroundSettings(TaskSettings):
    """Physics that replaces that of a run's conditions."""

    tyre: Literal["force", "contact"] = Field(
        "force",
        description="force: a tyre model acts on a planar body; contact: the vehicle stands on wheels in contact with "
        "the ground, and pitches, rolls and overturns",
    )
    bump_height_m: float = Field(
        0.0, ge=0.0, le=1.0, description="with contact: standard deviation of the ground's height [m]"
    )

    @property
    def begins_s(self) -> float | None:
        return None if self.tyre == FORCE and self.bump_height_m == 0.0 else 0.0

    def applied(self, task: Any) -> Any:
        return replace(task, tyre=self.tyre, bump_height_m=self.bump_height_m)
