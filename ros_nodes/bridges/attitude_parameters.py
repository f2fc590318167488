# SPDX-License-Identifier: Apache-2.0
"""Parameters of the bridges to autopilots that take body rates or attitudes."""

from __future__ import annotations

from typing import Literal

from metarl_robot.robots.quadrotor.autopilot.attitude_setpoint import AttitudeGains
from metarl_robot.robots.quadrotor.autopilot.commander import Settings
from metarl_robot.ros_nodes.bridges.autopilot_bridge import AutopilotParameters
from metarl_robot.ros_nodes.parameters import fixed


class AttitudeParameters(AutopilotParameters):
    """See the module's docstring."""

    setpoints: Literal["rates", "attitude"] = fixed(
        "rates", description="form of the setpoints: body rates and thrust, or attitude and thrust"
    )
    attitude_gain_hz: float = fixed(
        6.5, ge=0.5, le=20.0, description="attitude: the autopilot's MC_ROLL_P and MC_PITCH_P [1/s]"
    )
    yaw_gain_hz: float = fixed(2.8, ge=0.5, le=20.0, description="attitude: the autopilot's MC_YAW_P [1/s]")

    def settings(self) -> Settings:
        gains = AttitudeGains(self.attitude_gain_hz, self.yaw_gain_hz)
        return super().settings()._replace(attitude_gains=gains if self.setpoints == "attitude" else None)
