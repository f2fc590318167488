# SPDX-License-Identifier: Apache-2.0
"""The PX4 bridge: the gate's thrusts to PX4 over its uXRCE-DDS topics, its measurements to our nodes.

Topics and services: autopilot_bridge.py. PX4's topics: px4_link.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from metarl_robot.ros_nodes.bridges.attitude_parameters import AttitudeParameters
from metarl_robot.ros_nodes.bridges.autopilot_bridge import AutopilotBridge, declared_for
from metarl_robot.ros_nodes.bridges.px4_link import Px4Link
from metarl_robot.ros_nodes.runtime import run

declared = partial(declared_for, AttitudeParameters)


class Px4Bridge(AutopilotBridge):
    """See the module's docstring."""

    def __init__(self) -> None:
        super().__init__("px4_bridge", declared)

    def open_link(self) -> Px4Link:
        return Px4Link(self, self, lambda: self.get_clock().now().nanoseconds)


def main(args: Sequence[str] | None = None) -> int:
    """Entry point of the PX4 bridge."""
    return run(Px4Bridge, args)


if __name__ == "__main__":
    raise SystemExit(main())
