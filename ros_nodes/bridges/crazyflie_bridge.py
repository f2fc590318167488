# SPDX-License-Identifier: Apache-2.0
"""The Crazyflie bridge: the gate's thrusts to a Crazyflie by its radio, as rates and thrust or as full states; its
estimates to our nodes.

Topics and services beside those of autopilot_bridge.py:

    topic, service                   type                             from → to
    <pose_topic>                     geometry_msgs/PoseStamped        motion capture → bridge → Crazyflie's estimator
    /crazyflie_bridge/arm, disarm    std_srvs/Trigger                 ask the Crazyflie's supervisor

Messages of the radio: crazyflie_link.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from geometry_msgs.msg import PoseStamped
from std_srvs.srv import Trigger

from metarl_robot.ros_nodes import topics
from metarl_robot.ros_nodes.bridges.autopilot_bridge import AutopilotBridge, declared_for
from metarl_robot.ros_nodes.bridges.crazyflie_link import CrazyflieLink, Options
from metarl_robot.ros_nodes.bridges.crazyflie_parameters import SetpointParameters
from metarl_robot.ros_nodes.geometry import wxyz, xyz
from metarl_robot.ros_nodes.parameters import fixed
from metarl_robot.ros_nodes.runtime import run


class CrazyflieParameters(SetpointParameters):
    """Parameters of the Crazyflie bridge."""

    url: str = fixed(
        "radio://0/80/2M/E7E7E7E7E7",
        description="link as cflib names it: radio://DONGLE/CHANNEL/RATE/ADDRESS, usb://0, or udp://HOST:PORT",
    )
    pose_topic: str = fixed(
        "", description="geometry_msgs/PoseStamped of motion capture, for the Crazyflie's estimator; empty: none"
    )


declared = partial(declared_for, CrazyflieParameters)


class CrazyflieBridge(AutopilotBridge):
    """See the module's docstring."""

    _own: CrazyflieParameters
    _link: CrazyflieLink | None

    def __init__(self) -> None:
        super().__init__("crazyflie_bridge", declared)

    def open_link(self) -> CrazyflieLink:
        own = self._own
        options = Options(own.lands, own.floor_m, bool(own.pose_topic), own.full_m_s2(self._robot))
        return CrazyflieLink(own.url, options, self, lambda: self.get_clock().now().nanoseconds)

    def configure(self) -> None:
        super().configure()
        self._arming = tuple(
            self.create_service(Trigger, f"~/{name}", partial(self._on_arm, arm))
            for name, arm in (("arm", True), ("disarm", False))
        )
        self._poses = None
        if self._own.pose_topic:
            self._poses = self.create_subscription(PoseStamped, self._own.pose_topic, self._on_pose, topics.STATE_IN)

    def cleanup(self) -> None:
        super().cleanup()
        for service in self._arming:
            self.destroy_service(service)
        if self._poses is not None:
            self.destroy_subscription(self._poses)

    def _on_arm(self, arm: bool, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success = self._link is not None and self._link.arm(arm)
        asked = f"asked the Crazyflie to {'arm' if arm else 'disarm'}"
        response.message = asked if response.success else "no Crazyflie is connected"
        return response

    def _on_pose(self, message: PoseStamped) -> None:
        if self._link is not None and self.active:
            self._link.pose(np.array(xyz(message.pose.position)), np.array(wxyz(message.pose.orientation)))


def main(args: Sequence[str] | None = None) -> int:
    """Entry point of the Crazyflie bridge."""
    return run(CrazyflieBridge, args)


if __name__ == "__main__":
    raise SystemExit(main())
