# SPDX-License-Identifier: Apache-2.0
"""The payload of a demo: its settings, and whether the robot can carry it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field

from metarl_robot.core.errors import MetaRLError
from metarl_robot.core.robot import Robot
from metarl_robot.robots.payload import payload_site
from metarl_robot.sim.demo import Carried
from metarl_robot.sim.demo_settings import DemoSettings
from metarl_robot.sim.payload.body import Payload

_BOX_SIDE_M = 0.08
_Coordinate = Annotated[float, Field(ge=-10.0, le=10.0)]


class PayloadDemoSettings(DemoSettings):
    """The payload that is picked up."""

    renamed: ClassVar[Mapping[str, str]] = {"payload_mass": "payload_mass_kg", "payload_offset": "payload_com_m"}

    payload_mass_kg: float | None = Field(
        None, ge=0.0, le=1000.0, description="mass of the payload [kg]; default: drawn"
    )
    payload_com_m: tuple[_Coordinate, _Coordinate, _Coordinate] | None = Field(
        None, description="its centre of mass in the payload frame [m]; default: drawn"
    )

    def payload(self, drawn: Payload) -> Payload:
        """The drawn payload, or a cube of the given mass and position."""
        if self.payload_mass_kg is None and self.payload_com_m is None:
            return drawn
        mass = drawn.mass_kg if self.payload_mass_kg is None else self.payload_mass_kg
        moment = mass * _BOX_SIDE_M**2 / 6.0
        com = drawn.com_m if self.payload_com_m is None else np.array(self.payload_com_m)
        return Payload(mass, com, np.array([moment, moment, moment, 0.0, 0.0, 0.0]))


def check_use(task: Any, use: float) -> None:
    """Raises MetaRLError if the payload needs more than an effort limit along the motion; use: share of it."""
    if use > 1.0:
        raise MetaRLError(
            f"a payload of {task.payload.mass_kg:.2f} kg needs {use:.0%} of a motor's effort limit along this motion; "
            "choose a lighter one"
        )


def carried(robot: Robot, payload: Payload) -> Carried:
    """The payload as a picture shows it."""
    return Carried(payload_site(robot), payload.com_m, f"{payload.mass_kg:.1f} kg picked up")
