# SPDX-License-Identifier: Apache-2.0
"""The stand-in firmware (firmware.py) behind topics and services as crazyswarm2's server offers them (backend `cpp`).

It is NOT crazyswarm2: there is no radio, and only what a bridge uses is here. The pitch of cmd_vel_legacy is negated on
the way to the firmware, as in crazyflie_server.cpp.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import rclpy
from geometry_msgs.msg import Twist
from nav_msgs.msg import Odometry
from rcl_interfaces.msg import SetParametersResult
from rclpy.executors import SingleThreadedExecutor

from metarl_robot.ros_nodes.messages.provide import provide
from tests.autopilot.loop import OURS_S
from tests.crazyflie.firmware import MOST_PWM, Firmware

provide("crazyflie_interfaces")
from crazyflie_interfaces import msg, srv  # noqa: E402

FAST_STEPS, SLOW_STEPS = 2, 10
DEGREES = 57.29577951308232


class ServerStandIn:
    """One Crazyflie of a server."""

    def __init__(self, vehicle: Firmware, name: str = "cf231") -> None:
        self.vehicle, self._name, self._steps = vehicle, name, 0
        self._context = rclpy.Context()
        self._context.init()
        self.node = rclpy.create_node("crazyflie_server", context=self._context)
        for parameter in vehicle.parameters:
            self.node.declare_parameter(f"{name}.params.{parameter}", vehicle.parameters[parameter])
        self.node.add_on_set_parameters_callback(self._on_parameters)
        self._odom = self.node.create_publisher(Odometry, f"{name}/odom", 10)
        self._log = self.node.create_publisher(msg.LogDataGeneric, f"{name}/metarl", 10)
        self._status = self.node.create_publisher(msg.Status, f"{name}/status", 10)
        self.node.create_subscription(Twist, f"{name}/cmd_vel_legacy", self._on_setpoint, 10)
        self.node.create_subscription(msg.FullState, f"{name}/cmd_full_state", self._on_full_state, 10)
        self.node.create_service(srv.Arm, f"{name}/arm", self._on_arm)
        self.node.create_service(srv.NotifySetpointsStop, f"{name}/notify_setpoints_stop", self._on_stop)
        self.node.create_service(srv.Land, f"{name}/land", self._on_land)
        self.executor = SingleThreadedExecutor(context=self._context)
        self.executor.add_node(self.node)

    def step(self) -> None:
        self.receive()
        self.vehicle.advance()
        self._steps += 1
        self._transmit()

    def receive(self) -> None:
        self.executor.spin_once(0.0)

    def close(self) -> None:
        self.executor.shutdown()
        self.node.destroy_node()
        self._context.try_shutdown()

    def _on_setpoint(self, message: Twist) -> None:
        thrust = int(min(max(message.linear.z, 0.0), MOST_PWM))
        self.vehicle.rpyt(message.linear.y, -message.linear.x, message.angular.z, thrust)

    def _on_full_state(self, message: Any) -> None:
        """Rates are rad/s here, and mrad/s in the packet."""
        pose, twist = message.pose, message.twist
        place, velocity, acceleration, rates = (
            np.array([each.x, each.y, each.z]) for each in (pose.position, twist.linear, message.acc, twist.angular)
        )
        turned = pose.orientation
        q = np.array([turned.w, turned.x, turned.y, turned.z])
        self.vehicle.full_state(place, velocity, acceleration, q, np.degrees(rates))

    def _on_parameters(self, parameters: Any) -> SetParametersResult:
        for parameter in parameters:
            self.vehicle.parameters[parameter.name.partition(".params.")[2]] = parameter.value
        return SetParametersResult(successful=True)

    def _on_arm(self, request: Any, response: Any) -> Any:
        self.vehicle.arm(request.arm)
        return response

    def _on_stop(self, request: Any, response: Any) -> Any:
        self.vehicle.notify_stop()
        return response

    def _on_land(self, request: Any, response: Any) -> Any:
        self.vehicle.land(request.height, request.duration.sec + 1e-9 * request.duration.nanosec)
        return response

    def _stamp(self, message: Any) -> Any:
        at_ns = self.vehicle.boot_ns + round(OURS_S * 1e9)
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(at_ns, 1_000_000_000)
        return message

    def _transmit(self) -> None:
        state = self.vehicle.state
        if self._steps % FAST_STEPS == 0:
            assert state.specific_force is not None
            log = self._stamp(msg.LogDataGeneric())
            log.values = [*(state.v[3:] * DEGREES), *(state.specific_force / 9.81), self.vehicle.thrust * MOST_PWM]
            self._log.publish(log)
            odometry = self._stamp(Odometry())
            pose, twist = odometry.pose.pose, odometry.twist.twist
            pose.position.x, pose.position.y, pose.position.z = (round(float(x), 3) for x in state.q[:3])
            turned = pose.orientation
            turned.w, turned.x, turned.y, turned.z = (float(x) for x in state.q[3:])
            twist.linear.x, twist.linear.y, twist.linear.z = (round(float(x), 3) for x in state.v[:3])
            self._odom.publish(odometry)
        if self._steps % SLOW_STEPS == 0:
            status = self._stamp(msg.Status())
            status.supervisor_info, status.battery_voltage = self.vehicle.info, 4.2 * self.vehicle.battery
            self._status.publish(status)
