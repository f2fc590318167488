# SPDX-License-Identifier: Apache-2.0
"""Disturbances of a running simulation of an arm."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
from pydantic import Field

from metarl_robot.core.robot import Robot
from metarl_robot.robots.arm.description import Arm
from metarl_robot.sim.disturbances import Disturbances, Vector
from metarl_robot.sim.payload.body import compact


class ArmDisturbances(Disturbances):
    """A payload, and a force on the hand."""

    payload_mass_kg: float = Field(
        0.0, ge=0.0, le=1000.0, title="payload [kg]", description="payload at the hand; 0 takes it off [kg]"
    )
    push_n: Vector = Field(
        (0.0, 0.0, 0.0),
        min_length=3,
        max_length=3,
        title="push [N]",
        description="force on the hand, or on its payload [N; world]",
    )

    @classmethod
    def spans(cls, robot: Robot) -> Mapping[str, tuple[float, float]]:
        rated = float(cast(Arm, robot).description.payload.rated_mass_kg)
        return {"payload_mass_kg": (0.0, rated), "push_n": (-30.0, 30.0)}

    def conditions(self) -> Mapping[str, Mapping[str, Any]]:
        return {
            "payload_mass_kg": {"payload": compact(self.payload_mass_kg), "swing": False},
            "push_n": {"push_n": np.array(self.push_n)},
        }
