# SPDX-License-Identifier: Apache-2.0
"""The bridge to ros2_control: the gate's efforts to an effort controller of the robot. The last process before it.

Topics and services of every such bridge: controller_manager_bridge.py. Besides:

    topic (as launched)              type                             from → to
    /<controller>/commands           std_msgs/Float64MultiArray       bridge → forward_command_controller or
                                                                      JointGroupEffortController: efforts [Nm, N] in
                                                                      the order of its parameter `joints`

    service that is called                    type
    /controller_manager/switch_controller     controller_manager_msgs/SwitchController: STRICT, see controller_switch.py

States are the joint_state_broadcaster's /joint_states, which mpc and gate read. An effort that is not finite, or
answers an old state, is not sent; without usable efforts for `deadline_s` the holding controller is activated.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from std_msgs.msg import Float64MultiArray

from metarl_robot.core.errors import MetaRLError
from metarl_robot.robots.arm.controller_switch import ControllerSwitch, Request
from metarl_robot.ros_nodes import topics
from metarl_robot.ros_nodes.bridges.controller_manager_bridge import (
    ControllerManagerBridge,
    ControllerParameters,
    declared_for,
)
from metarl_robot.ros_nodes.ending import REST_WITHIN_S
from metarl_robot.ros_nodes.parameters import Declarer, fixed
from metarl_robot.ros_nodes.runtime import run

Array = NDArray[np.float64]


class BridgeParameters(ControllerParameters):
    """Parameters of the bridge."""

    effort_controller: str = fixed(
        "forward_effort_controller", description="effort controller: forward_command_controller, JointGroupEffort"
    )
    holding_controller: str = fixed(
        "joint_trajectory_controller", description="controller that holds the arm, activated on a fault"
    )
    deadline_s: float = fixed(
        0.05, ge=0.005, le=1.0, description="the holding controller is activated after this time without efforts [s]"
    )


def declared(parameters: Declarer) -> tuple[BridgeParameters, Any]:
    """See Declarer. Raises MetaRLError."""
    own, robot = declared_for(BridgeParameters, parameters)
    if not own.holding_controller or own.holding_controller == own.effort_controller:
        raise MetaRLError(
            f"holding_controller is '{own.holding_controller}'; must name another controller than "
            f"'{own.effort_controller}', one that holds the arm, such as joint_trajectory_controller"
        )
    return own, robot


class Ros2ControlBridge(ControllerManagerBridge):
    """See the module's docstring."""

    asked = ("joints", "interface_name")
    held_by = "the holding controller is activated"

    def __init__(self) -> None:
        self._order: list[int] = []
        super().__init__("ros2_control_bridge", declared)

    @property
    def controller(self) -> str:
        return str(self._own.effort_controller)

    def make_switch(self) -> ControllerSwitch:
        own = self._own
        return ControllerSwitch(own.effort_controller, own.holding_controller, own.deadline_s)

    def open_output(self) -> tuple[str, Any]:
        own, commands = self._own, f"{self.controller}/commands"
        if self.resolve_topic_name(commands) == self.resolve_topic_name(self._interface.commands):
            raise MetaRLError(
                f"effort_controller is '{own.effort_controller}', whose topic is the gate's own "
                f"({self._interface.commands}); give the robot's controller another name, or remap the gate's topic"
            )
        self._order = []
        return commands, self.create_lifecycle_publisher(Float64MultiArray, commands, topics.COMMAND)

    def deactivate(self) -> None:
        if self._switch is not None and self._switch.sends:
            raise MetaRLError("the effort controller acts; call ~/hold first")

    def may_end(self, waited_s: float) -> bool:
        """Whether the holding controller has taken over: a gate that ends brings the arm to rest first."""
        return self._switch is None or not (self.active and self._switch.sends) or waited_s > REST_WITHIN_S

    def on_usable_effort(self, effort: Array) -> None:
        if self._switch is not None and self._switch.sends and self._order:
            within = np.clip(effort, self._robot.effort_lower, self._robot.effort_limit)
            self._out.publish(Float64MultiArray(data=within[self._order].tolist()))
            self._counts["sent"] += 1

    def ask(self, request: Request) -> None:
        effort, holding = self._own.effort_controller, self._own.holding_controller
        if request is Request.ENGAGE:
            self.switch_controllers(request, activate=effort, deactivate=holding)
        elif request is Request.HOLD:
            self.switch_controllers(request, activate=holding, deactivate=effort)
        else:
            super().ask(request)

    def take_parameters(self, values: dict[str, Any]) -> str:
        if values.get("interface_name") not in (None, "", "effort"):
            return f"its interface_name is '{values['interface_name']}'; must be 'effort'"
        names = list(self._robot.channel_names)
        self._order = [names.index(joint) for joint in values["joints"]]
        return ""


def main(args: Sequence[str] | None = None) -> int:
    """Entry point of the bridge to ros2_control."""
    return run(Ros2ControlBridge, args)


if __name__ == "__main__":
    raise SystemExit(main())
