# SPDX-License-Identifier: Apache-2.0
"""The stand-in for an arm under ros2_control whose driver adds gravity, of an accepted load too. It is NOT a robot.

    python -m tests.ros2_control.load_stand_in planar2 franka

It serves the drivers' services by their documentation (ros_nodes/bridges/load_services.py):

* franka: /service_server/set_load is refused while a controller is active ("move" mode); without one the robot holds
  itself.
* ur: /io_and_status_controller/set_payload fades the load in over transition_time, at any time.

    topic             type                from → to
    /stand_in/mass    std_msgs/Float64    test → stand-in: the arm carries this mass from now on [kg]
    /stand_in/refuse  std_msgs/Bool       test → stand-in: the next loads are refused
"""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import numpy as np
import rclpy
from std_msgs.msg import Bool, Float64

from metarl_robot.robots.arm.tool_load import Load, load_of, parameters_of
from metarl_robot.ros_nodes.convert import time_message
from metarl_robot.ros_nodes.messages.provide import provide
from metarl_robot.sim.arm.gravity import NominalGravity
from metarl_robot.sim.payload.body import compact
from tests.ros2_control.loaded import LoadGravity
from tests.ros2_control.stand_in import EFFORT, HOLDING, StandIn

COM_M = (0.03, 0.0, 0.02)


class LoadStandIn(StandIn):
    """See the module's docstring."""

    def __init__(self, robot: str, driver: str) -> None:
        super().__init__(robot, "effort")
        self._gravity, self._of_load = NominalGravity(self._robot), LoadGravity(self._robot)
        self._from = self._to = np.zeros(10)
        self._since_s, self._over_s = 0.0, 0.0
        self._refuses, self._carried = False, np.zeros(10)
        self._zero_ns: int | None = None
        self.given: list[float] = []
        self.test = rclpy.create_node("stand_in")
        self.test.create_subscription(Float64, "~/mass", self._on_mass, 1)
        self.test.create_subscription(Bool, "~/refuse", self._on_refuse, 1)
        self.nodes += [self.test, self._franka() if driver == "franka" else self._ur()]

    def _franka(self) -> Any:
        provide("franka_msgs")
        from franka_msgs.srv import SetLoad

        node = rclpy.create_node("service_server")
        node.create_service(SetLoad, "~/set_load", self._on_set_load)
        return node

    def _ur(self) -> Any:
        provide("ur_msgs")
        from ur_msgs.srv import SetPayload

        node = rclpy.create_node("io_and_status_controller")
        node.create_service(SetPayload, "~/set_payload", self._on_set_payload)
        return node

    def _on_mass(self, message: Float64) -> None:
        body = compact(message.data, COM_M if message.data else (0.0, 0.0, 0.0))
        self._carried = body.inertial_parameters()
        self._plant.set_task(replace(self._plant.task, payload=body))

    def _on_refuse(self, message: Bool) -> None:
        self._refuses = message.data

    def _on_set_load(self, request: Any, response: Any) -> Any:
        moves = "active" in (self.states[EFFORT], self.states[HOLDING])
        response.success = not (moves or self._refuses)
        if response.success:
            inertia = np.array(request.load_inertia).reshape(3, 3, order="F")
            self._take(Load(request.mass, np.array(request.center_of_mass), inertia), 0.0)
        else:
            response.error = "command rejected: move mode" if moves else "command rejected: told to"
        return response

    def _on_set_payload(self, request: Any, response: Any) -> Any:
        response.success = not self._refuses
        if response.success:
            r, com = request, request.center_of_gravity
            inertia = np.array([[r.ixx, r.ixy, r.ixz], [r.ixy, r.iyy, r.iyz], [r.ixz, r.iyz, r.izz]])
            within_s = r.transition_time.sec + 1e-9 * r.transition_time.nanosec
            self._take(Load(r.mass, np.array([com.x, com.y, com.z]), inertia), within_s)
        return response

    def _take(self, load: Load, within_s: float) -> None:
        self._from, self._to = self.compensated, parameters_of(load)
        self._since_s, self._over_s = self._plant.time, within_s
        self.given.append(round(load.mass_kg, 3))

    @property
    def compensated(self) -> np.ndarray:
        """Parameters of the load that the driver compensates now."""
        passed_s = self._plant.time - self._since_s
        share = 1.0 if passed_s >= self._over_s else passed_s / self._over_s
        return self._from + share * (self._to - self._from)

    def stamp(self) -> Any:
        """The time of the measurement, by the robot's own clock: a late message does not look like a slow arm."""
        now_ns, time_ns = self.manager.get_clock().now().nanoseconds, round(1e9 * self._plant.time)
        self._zero_ns = now_ns - time_ns if self._zero_ns is None else self._zero_ns
        return time_message(self._zero_ns + time_ns)

    def effort(self, state: Any) -> np.ndarray:
        """The driver adds gravity to our efforts; a robot that holds itself holds what it carries, with its servo."""
        if self.states[EFFORT] == "active":
            return self.sent() + self._gravity.effort(state.q) + self._of_load.effort(state.q, self.compensated)
        held = self._law.step(self._plant.time, state, self._place).effort
        return np.asarray(held + self._of_load.effort(state.q, self._carried))

    def report(self) -> dict[str, Any]:
        sent = self.sent().tolist() if self.states[EFFORT] == "active" else None
        compensated_kg = load_of(self.compensated).mass_kg
        return {**super().report(), "sent": sent, "compensated_kg": compensated_kg, "given": self.given}


if __name__ == "__main__":
    rclpy.init()
    LoadStandIn(*sys.argv[1:]).run()
