# SPDX-License-Identifier: Apache-2.0
"""A stand-in for a robot under ros2_control that takes positions, in a process of its own. It is NOT ros2_control.

    python -m tests.ros2_control.position_stand_in planar2 position

Its joint_trajectory_controller and its arm: trajectory_controller.py. It serves list_controllers, the controller's
parameters and its topic over rclpy, with the joints reversed, and publishes /joint_states and /dynamic_joint_states.
interface: of the controller; with another than `position` its states hold no efforts. It prints its state as JSON, 20
lines a second; `commanded` is the position that the controller commands, `sent` the number of trajectories, `refused`
its reasons.
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
from trajectory_msgs.msg import JointTrajectory

from metarl_robot.core.robot import load_robot
from metarl_robot.core.signals import State
from metarl_robot.ros_nodes.convert import nanoseconds
from metarl_robot.ros_nodes.messages.provide import provide
from metarl_robot.sim.arm.plant import ArmPlant
from metarl_robot.sim.arm.task import nominal_task
from tests.ros2_control.trajectory_controller import PositionRobot, TrajectoryController

for package in ("controller_manager_msgs", "control_msgs"):
    provide(package)
from control_msgs.msg import DynamicJointState, InterfaceValue  # noqa: E402
from controller_manager_msgs.msg import ControllerState  # noqa: E402
from controller_manager_msgs.srv import ListControllers  # noqa: E402

CONTROLLER, BROADCASTER = "joint_trajectory_controller", "joint_state_broadcaster"
REPORT_S, LOST_S = 0.05, 0.02


class PositionStandIn:
    """See the module's docstring."""

    def __init__(self, robot: str, interface: str) -> None:
        self._robot = load_robot(robot)
        plant = ArmPlant(self._robot, nominal_task(self._robot))
        plant.reset(self._robot.home)
        self._body, self._plant = PositionRobot(self._robot, plant), plant
        self._joints = list(reversed(self._robot.channel_names))
        self._controller = TrajectoryController(self._joints, self._robot.home[::-1])
        self._sent, self._measures_effort = 0, interface == "position"
        self.manager, self._node = rclpy.create_node("controller_manager"), rclpy.create_node(CONTROLLER)
        self._node.declare_parameter("joints", self._joints)
        self._node.declare_parameter("command_interfaces", [interface])
        self._out = self.manager.create_publisher(JointState, "/joint_states", 1)
        self._dynamic_out = self.manager.create_publisher(DynamicJointState, "/dynamic_joint_states", 1)
        self.manager.create_service(ListControllers, "~/list_controllers", self._on_list)
        self._node.create_subscription(JointTrajectory, "~/joint_trajectory", self._on_trajectory, 1)

    def _on_list(self, _: Any, response: Any) -> Any:
        response.controller = [ControllerState(name=name, state="active") for name in (CONTROLLER, BROADCASTER)]
        return response

    def _on_trajectory(self, message: JointTrajectory) -> None:
        times = np.array([1e-9 * nanoseconds(point.time_from_start) for point in message.points])
        q, v = (
            np.array([getattr(point, field) for point in message.points], dtype=float)
            for field in ("positions", "velocities")
        )
        self._sent += 1
        stamp_s = 1e-9 * nanoseconds(message.header.stamp)
        self._controller.take(self._clock_s(), stamp_s, message.joint_names, times, q, v)

    def _clock_s(self) -> float:
        return 1e-9 * float(self.manager.get_clock().now().nanoseconds)

    def step(self) -> None:
        """One control period."""
        self._body.step(self._controller, self._joints, self._clock_s() - self._plant.time)
        self._publish(self._plant.measure(), self._body.effort)

    def _publish(self, state: State, effort: np.ndarray) -> None:
        names, stamp = list(self._robot.channel_names), self.manager.get_clock().now().to_msg()
        rows = np.stack([state.q, state.v, effort], axis=1).tolist()
        message = JointState(name=names, position=state.q.tolist(), velocity=state.v.tolist())
        fields = ["position", "velocity"]
        if self._measures_effort:
            fields.append("effort")
            message.effort = effort.tolist()
        values = [InterfaceValue(interface_names=fields, values=row[: len(fields)]) for row in rows]
        dynamic = DynamicJointState(joint_names=names, interface_values=values)
        message.header.stamp = dynamic.header.stamp = stamp
        self._out.publish(message)
        self._dynamic_out.publish(dynamic)

    def report(self) -> dict[str, Any]:
        commanded = self._controller.at(self._clock_s())[::-1]
        return {
            "time_s": self._plant.time, "q": self._plant.measure().q.tolist(), "commanded": commanded.tolist(),
            "sent": self._sent, "refused": sorted(set(self._controller.refused)),
        }  # fmt: skip

    def run(self) -> None:
        executor = SingleThreadedExecutor()
        for node in (self.manager, self._node):
            executor.add_node(node)
        begun_s, reported_s = monotonic(), -1.0
        while True:
            wait_s = begun_s + self._plant.time - monotonic()
            executor.spin_once(timeout_sec=max(wait_s, 0.0))
            late_s = monotonic() - begun_s - self._plant.time
            if late_s < 0.0:
                continue
            if late_s > LOST_S:  # a busy machine: this time is lost, and not made up for by a faster arm
                begun_s += late_s
            self.step()
            if self._plant.time - reported_s >= REPORT_S:
                reported_s = self._plant.time
                print(json.dumps(self.report()), flush=True)


if __name__ == "__main__":
    rclpy.init()
    PositionStandIn(*sys.argv[1:]).run()
