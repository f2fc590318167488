# SPDX-License-Identifier: Apache-2.0
"""The crazyswarm2 bridge: the gate's thrusts to a Crazyflie through crazyswarm2's server, its estimates to our nodes.

Topics and services: autopilot_bridge.py, and those of crazyswarm2: crazyswarm_link.py.
"""

from __future__ import annotations

from collections.abc import Sequence

from metarl_robot.ros_nodes.bridges.autopilot_bridge import AutopilotBridge, AutopilotParameters
from metarl_robot.ros_nodes.bridges.crazyswarm_link import CrazyswarmLink
from metarl_robot.ros_nodes.parameters import fixed
from metarl_robot.ros_nodes.runtime import run


class CrazyswarmParameters(AutopilotParameters):
    """Parameters of the crazyswarm2 bridge."""

    robot: str = fixed("crazyflie", description="name of the robot, or the folder of its description")
    crazyflie: str = fixed("cf231", description="name of the robot in crazyswarm2's crazyflies.yaml")
    rate_loop_s: float = fixed(
        0.03, ge=0.0, le=1.0, description="time constant of the firmware's rate loop; 0: from the motors' [s]"
    )
    lands: bool = fixed(
        True, description="when control ends in flight the Crazyflie lands by itself; else it falls after 2 s"
    )
    floor_m: float = fixed(0.0, ge=-10.0, le=30.0, description="height of the floor in the Crazyflie's estimate [m]")


class CrazyswarmBridge(AutopilotBridge):
    """See the module's docstring."""

    _own: CrazyswarmParameters

    def __init__(self) -> None:
        super().__init__("crazyswarm_bridge", CrazyswarmParameters)

    def open_link(self) -> CrazyswarmLink:
        own = self._own
        return CrazyswarmLink(self, own.crazyflie, own.lands, own.floor_m, self)


def main(args: Sequence[str] | None = None) -> int:
    """Entry point of the crazyswarm2 bridge."""
    return run(CrazyswarmBridge, args)


if __name__ == "__main__":
    raise SystemExit(main())
