# SPDX-License-Identifier: Apache-2.0
"""Parameters of both bridges to Crazyflies: form of the setpoints, and the end of control."""

from __future__ import annotations

from typing import Literal

from metarl_robot.core.errors import MetaRLError
from metarl_robot.robots.quadrotor.autopilot.commander import Settings
from metarl_robot.robots.quadrotor.description import Quadrotor
from metarl_robot.ros_nodes.bridges.autopilot_bridge import AutopilotParameters
from metarl_robot.ros_nodes.parameters import fixed

RATE_LOOP_S = 0.03
"""Time constant of the firmware's rate loop with its default gains, as tried with the stand-in of the tests."""
FULL_STATE_LOOP_S = 0.015
"""The same of its controller after Mellinger. From 0.03 on, loaded flights failed there."""
LEAD_S = 0.008
"""Half of the period of states, 10 ms, and some milliseconds of the radio."""


class SetpointParameters(AutopilotParameters):
    """See the module's docstring."""

    robot: str = fixed("crazyflie", description="name of the robot, or the folder of its description")
    setpoints: Literal["rates", "full_state"] = fixed(
        "rates", description="form of the setpoints: rates and thrust, or full states for the firmware's own controller"
    )
    rate_loop_s: float = fixed(
        RATE_LOOP_S, ge=0.0, le=1.0, description="rates: time constant of the firmware's loop; 0: from the motors' [s]"
    )
    full_state_loop_s: float = fixed(
        FULL_STATE_LOOP_S, ge=0.005, le=1.0, description="full states: time constant of the firmware's rate control [s]"
    )
    lead_s: float = fixed(
        LEAD_S,
        ge=0.0,
        le=0.1,
        description="full states: time from sending a setpoint to the middle of its effect [s]",
    )
    lands: bool = fixed(
        True, description="when control ends in flight the Crazyflie lands by itself; else it falls after 2 s"
    )
    floor_m: float = fixed(0.0, ge=-10.0, le=30.0, description="height of the floor in the Crazyflie's estimate [m]")

    def full_m_s2(self, robot: Quadrotor) -> float | None:
        """Specific force of the robot's full thrust, if full states are sent."""
        return robot.collective(robot.effort_limit) / robot.mass_kg if self.setpoints == "full_state" else None

    def settings(self) -> Settings:
        if self.setpoints == "rates":
            return super().settings()
        if self.hover_thrust != 0.0:
            raise MetaRLError(
                f"hover_thrust is {self.hover_thrust}; must be 0 with setpoints:=full_state, which tell accelerations"
            )
        return Settings(0.0, self.full_state_loop_s, self.deadline_s, self.auto_arm, self.lead_s)
