# SPDX-License-Identifier: Apache-2.0
"""A stand-in for a robot under ros2_control, in a process of its own and in real time. It is NOT ros2_control.

    python -m tests.ros2_control.stand_in planar2 effort

It flies no hardware: our MuJoCo arm executes the efforts. It serves the real services (list_controllers,
switch_controller, the effort controller's parameters) and topics over rclpy, by ros2_control's documentation:

* a STRICT switch changes nothing unless every name is loaded and in the right state, and a joint has one controller;
* the effort controller repeats its last command forever, takes as many numbers as it has joints, in the order of its
  parameter `joints` (here: reversed), and commands nothing between its activation and its first message;
* the holding controller holds the position at which it is activated; the joint_state_broadcaster is always active.

interface: value of the effort controller's parameter `interface_name`. It prints its state as JSON, 20 lines a second.
"""

from __future__ import annotations

import json
import sys
from time import monotonic
from typing import Any

import numpy as np
import rclpy
from rclpy.executors import SingleThreadedExecutor
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray

from metarl_robot.control.factory import make_controller
from metarl_robot.core.robot import load_robot
from metarl_robot.ros_nodes.messages.provide import provide
from metarl_robot.sim.arm.plant import ArmPlant
from metarl_robot.sim.arm.task import nominal_task
from metarl_robot.trajectories.flat_outputs import flat_outputs_of

provide("controller_manager_msgs")
from controller_manager_msgs.msg import ControllerState  # noqa: E402
from controller_manager_msgs.srv import ListControllers, SwitchController  # noqa: E402

EFFORT, HOLDING, BROADCASTER = "forward_effort_controller", "joint_trajectory_controller", "joint_state_broadcaster"
REPORT_S = 0.05


class StandIn:
    """See the module's docstring."""

    def __init__(self, robot: str, interface: str) -> None:
        self._robot = load_robot(robot)
        self._plant = ArmPlant(self._robot, nominal_task(self._robot))
        self._plant.reset(self._robot.home)
        self._law = make_controller(self._robot, "computed_torque")
        self._joints = list(reversed(self._robot.channel_names))
        self.states = {EFFORT: "inactive", HOLDING: "active", BROADCASTER: "active"}
        self._hold(self._plant.measure().q)
        self._last: np.ndarray | None = None
        self.manager, self._forward = rclpy.create_node("controller_manager"), rclpy.create_node(EFFORT)
        self._forward.declare_parameter("joints", self._joints)
        self._forward.declare_parameter("interface_name", interface)
        self.nodes = [self.manager, self._forward]
        self._out = self.manager.create_publisher(JointState, "/joint_states", 1)
        self.manager.create_service(ListControllers, "~/list_controllers", self._on_list)
        self.manager.create_service(SwitchController, "~/switch_controller", self._on_switch)
        self._forward.create_subscription(Float64MultiArray, "~/commands", self._on_commands, 1)
        self.switches: list[str] = []

    def _hold(self, q: np.ndarray) -> None:
        self._law.reset()
        self._place = flat_outputs_of(self._robot).hold(q)

    def _on_list(self, _: Any, response: Any) -> Any:
        response.controller = [
            ControllerState(name=name, state=state, claimed_interfaces=[] if name == BROADCASTER else ["all"])
            for name, state in self.states.items()
        ]
        return response

    def _on_switch(self, request: Any, response: Any) -> Any:
        on, off = set(request.activate_controllers), set(request.deactivate_controllers)
        after = {name for name, state in self.states.items() if state == "active"} - off | on
        response.ok = (
            request.strictness == request.STRICT
            and all(self.states.get(name) == "inactive" for name in on)
            and all(self.states.get(name) == "active" for name in off)
            and not {EFFORT, HOLDING} <= after
        )
        if response.ok:
            self.states.update(dict.fromkeys(off, "inactive") | dict.fromkeys(on, "active"))
            self.switches += sorted(on)
            self._last = None
            self._hold(self._plant.measure().q)
        else:
            response.message = "a STRICT switch is not possible"
        return response

    def _on_commands(self, message: Any) -> None:
        if len(message.data) == len(self._joints):
            self._last = np.array(message.data)

    def sent(self) -> np.ndarray:
        """The last efforts that came, in our order."""
        values = np.zeros(len(self._joints)) if self._last is None else self._last
        last = dict(zip(self._joints, values, strict=True))
        return np.array([last[name] for name in self._robot.channel_names])

    def effort(self, state: Any) -> np.ndarray:
        """The effort that acts."""
        if self.states[EFFORT] == "active":
            return self.sent()
        if self.states[HOLDING] == "active":
            return np.asarray(self._law.step(self._plant.time, state, self._place).effort)
        return np.zeros(self._robot.nu)

    def stamp(self) -> Any:
        """Stamp of the newest state."""
        return self.manager.get_clock().now().to_msg()

    def step(self) -> None:
        """One control period."""
        state = self._plant.step(self.effort(self._plant.measure()), self._robot.control_period_s)
        message = JointState(name=list(self._robot.channel_names), position=state.q.tolist(), velocity=state.v.tolist())
        message.header.stamp = self.stamp()
        self._out.publish(message)

    def report(self) -> dict[str, Any]:
        return {
            "time_s": self._plant.time, "q": self._plant.measure().q.tolist(), "states": self.states,
            "switches": self.switches,
        }  # fmt: skip

    def run(self) -> None:
        executor = SingleThreadedExecutor()
        for node in self.nodes:
            executor.add_node(node)
        begun_s, reported_s = monotonic(), -1.0
        while True:
            wait_s = begun_s + self._plant.time - monotonic()
            executor.spin_once(timeout_sec=max(wait_s, 0.0))
            if monotonic() - begun_s < self._plant.time:
                continue
            self.step()
            if self._plant.time - reported_s >= REPORT_S:
                reported_s = self._plant.time
                print(json.dumps(self.report()), flush=True)


if __name__ == "__main__":
    rclpy.init()
    StandIn(*sys.argv[1:]).run()
