# SPDX-License-Identifier: Apache-2.0
"""The MAVLink bridge: the gate's thrusts to PX4 or ArduPilot, their measurements to our nodes.

Topics and services: autopilot_bridge.py. Messages: mavlink_link.py.
"""

from __future__ import annotations

from collections.abc import Sequence

from metarl_robot.robots.quadrotor.description import Quadrotor
from metarl_robot.ros_nodes.bridges.attitude_parameters import AttitudeParameters
from metarl_robot.ros_nodes.bridges.autopilot_bridge import AutopilotBridge, declared_for
from metarl_robot.ros_nodes.bridges.mavlink_link import MavlinkLink, Rates, check_url
from metarl_robot.ros_nodes.parameters import Declarer, fixed
from metarl_robot.ros_nodes.runtime import run


class MavlinkParameters(AttitudeParameters):
    """Parameters of the MAVLink bridge."""

    url: str = fixed(
        "udpin:127.0.0.1:14540",
        description="connection as pymavlink names it: udpin:HOST:PORT, udpout:HOST:PORT, tcp:HOST:PORT or a serial "
        "device",
    )
    baud: int = fixed(921600, ge=9600, le=12_000_000, description="baud rate of a serial device")
    odometry_hz: float = fixed(0.0, ge=0.0, le=1000.0, description="rate of poses to ask for; 0: the control rate [Hz]")
    imu_hz: float = fixed(0.0, ge=0.0, le=1000.0, description="rate of IMU data to ask for; 0: the control rate [Hz]")


def declared(parameters: Declarer) -> tuple[MavlinkParameters, Quadrotor]:
    """See Declarer. Raises MetaRLError."""
    own, robot = declared_for(MavlinkParameters, parameters)
    check_url(own.url)
    return own, robot


class MavlinkBridge(AutopilotBridge):
    """See the module's docstring."""

    _own: MavlinkParameters

    def __init__(self) -> None:
        super().__init__("mavlink_bridge", declared)

    def open_link(self) -> MavlinkLink:
        own, usual_hz = self._own, 1.0 / self._robot.control_period_s
        rates = Rates(own.odometry_hz or usual_hz, own.imu_hz or usual_hz)
        return MavlinkLink(own.url, own.baud, rates, self, lambda: self.get_clock().now().nanoseconds)


def main(args: Sequence[str] | None = None) -> int:
    """Entry point of the MAVLink bridge."""
    return run(MavlinkBridge, args)


if __name__ == "__main__":
    raise SystemExit(main())
