# SPDX-License-Identifier: Apache-2.0
"""Settings of a payload: one that is attached during a run, and the one of a demo."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

from pydantic import Field

from metarl_robot.sim.payload.body import compact
from metarl_robot.sim.task_settings import TaskSettings


class PayloadSettings(TaskSettings):
    """A compact payload that is attached during a run."""

    payload_mass_kg: float = Field(
        0.0, ge=0.0, le=1000.0, description="payload to attach, on top of the other conditions [kg]"
    )
    payload_com_m: tuple[Annotated[float, Field(ge=-10.0, le=10.0)], ...] = Field(
        (0.0, 0.0, 0.0), description="its centre of mass in the payload frame [m]"
    )
    payload_attach_s: float = Field(0.0, ge=0.0, le=1e6, description="time at which the payload is attached [s]")

    @property
    def begins_s(self) -> float | None:
        return self.payload_attach_s if self.payload_mass_kg > 0.0 else None

    def applied(self, task: Any) -> Any:
        return replace(task, payload=compact(self.payload_mass_kg, self.payload_com_m))
