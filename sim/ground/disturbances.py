# SPDX-License-Identifier: Apache-2.0
"""Disturbances of a running simulation of a ground vehicle."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
from pydantic import Field

from metarl_robot.core.robot import Robot
from metarl_robot.robots.ground.description import Ground
from metarl_robot.sim.disturbances import Disturbances


class GroundDisturbances(Disturbances):
    """Another ground, a slope, and a load."""

    friction: float = Field(
        1.05,
        gt=0.0,
        le=5.0,
        title="friction",
        description="peak friction of the ground; 0.2: ice, 0.5: gravel, 1: dry asphalt",
    )
    rolling_resistance: float = Field(
        0.015, ge=0.0, le=1.0, title="rolling resistance", description="rolling resistance over the load"
    )
    slope_x_rad: float = Field(
        0.0, ge=-0.6, le=0.6, title="slope [rad]", description="rise of the ground along x of the world [rad]"
    )
    payload_mass_kg: float = Field(0.0, ge=0.0, le=1000.0, title="load [kg]", description="load; 0 takes it off [kg]")

    @classmethod
    def spans(cls, robot: Robot) -> Mapping[str, tuple[float, float]]:
        return {
            "friction": (0.15, 1.5),
            "rolling_resistance": (0.0, 0.15),
            "slope_x_rad": (-0.2, 0.2),
            "payload_mass_kg": (0.0, 0.4 * cast(Ground, robot).description.mass_kg),
        }

    def conditions(self) -> Mapping[str, Mapping[str, Any]]:
        return {
            "friction": {"friction": self.friction},
            "rolling_resistance": {"rolling_resistance": self.rolling_resistance},
            "slope_x_rad": {"slope_rad": np.array([self.slope_x_rad, 0.0])},
            "payload_mass_kg": {"payload_mass_kg": self.payload_mass_kg},
        }
