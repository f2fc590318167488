# SPDX-License-Identifier: Apache-2.0
"""Disturbances of a running simulation of a quadrotor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
from pydantic import Field

from metarl_robot.core.robot import Robot
from metarl_robot.robots.quadrotor.description import Quadrotor
from metarl_robot.sim.disturbances import Disturbances, Vector
from metarl_robot.sim.payload.body import compact
from metarl_robot.sim.quadrotor.tasks import Wind


class QuadrotorDisturbances(Disturbances):
    """A payload, steady wind, a force, and a rotor that loses thrust."""

    payload_mass_kg: float = Field(
        0.0, ge=0.0, le=1000.0, title="payload [kg]", description="payload below the body; 0 takes it off [kg]"
    )
    wind_m_s: Vector = Field(
        (0.0, 0.0, 0.0), min_length=3, max_length=3, title="wind [m/s]", description="velocity of the air [m/s; world]"
    )
    push_n: Vector = Field(
        (0.0, 0.0, 0.0), min_length=3, max_length=3, title="push [N]", description="force on the body [N; world]"
    )
    first_rotor: float = Field(
        1.0, ge=0.0, le=1.5, title="first rotor", description="thrust of the first rotor over that of a sound one"
    )

    @classmethod
    def spans(cls, robot: Robot) -> Mapping[str, tuple[float, float]]:
        rated = float(cast(Quadrotor, robot).description.payload.rated_mass_kg)
        half = 0.5 * cast(Quadrotor, robot).description.mass_kg * 9.81
        return {
            "payload_mass_kg": (0.0, rated),
            "wind_m_s": (-8.0, 8.0),
            "push_n": (-half, half),
            "first_rotor": (0.5, 1.0),
        }

    def conditions(self) -> Mapping[str, Mapping[str, Any]]:
        return {
            "payload_mass_kg": {"payload": compact(self.payload_mass_kg), "sling_m": 0.0},
            "wind_m_s": {"wind": Wind(np.array(self.wind_m_s))},
            "push_n": {"push_n": np.array(self.push_n)},
            "first_rotor": {"effectiveness": np.array([self.first_rotor, 1.0, 1.0, 1.0])},
        }
