# SPDX-License-Identifier: Apache-2.0
"""Settings of a vehicle's simulation: the physics of its tyres, bumps, and the steering servo's delay."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

from pydantic import Field

from metarl_robot.sim.physics_time import MAX_DELAY_S
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
    steering_delay_s: float = Field(
        0.0,
        ge=0.0,
        le=MAX_DELAY_S,
        description="time from a command to its effect on the steering servo, beyond that of the drive [s]",
    )

    @property
    def begins_s(self) -> float | None:
        return None if self == GroundSettings() else 0.0

    def applied(self, task: Any) -> Any:
        return replace(task, **self.model_dump())
