# SPDX-License-Identifier: Apache-2.0
"""The crazyswarm2 bridge: the gate's thrusts to a Crazyflie through crazyswarm2's server, its estimates to our nodes.

Topics and services: autopilot_bridge.py, and those of crazyswarm2: crazyswarm_link.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from metarl_robot.ros_nodes.bridges.autopilot_bridge import AutopilotBridge, declared_for
from metarl_robot.ros_nodes.bridges.crazyflie_parameters import SetpointParameters
from metarl_robot.ros_nodes.bridges.crazyswarm_link import CrazyswarmLink
from metarl_robot.ros_nodes.parameters import fixed
from metarl_robot.ros_nodes.runtime import run


class CrazyswarmParameters(SetpointParameters):
    """Parameters of the crazyswarm2 bridge."""

    crazyflie: str = fixed("cf231", description="name of the robot in crazyswarm2's crazyflies.yaml")


declared = partial(declared_for, CrazyswarmParameters)


class CrazyswarmBridge(AutopilotBridge):
    """See the module's docstring."""

    _own: CrazyswarmParameters

    def __init__(self) -> None:
        super().__init__("crazyswarm_bridge", declared)

    def open_link(self) -> CrazyswarmLink:
        own = self._own
        return CrazyswarmLink(self, own.crazyflie, own.lands, own.floor_m, self, own.full_m_s2(self._robot))


def main(args: Sequence[str] | None = None) -> int:
    """Entry point of the crazyswarm2 bridge."""
    return run(CrazyswarmBridge, args)


if __name__ == "__main__":
    raise SystemExit(main())
