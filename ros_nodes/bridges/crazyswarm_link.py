# SPDX-License-Identifier: Apache-2.0
"""A Crazyflie through the server of crazyswarm2 (backend `cpp`), whose topics and services are below the robot's name.

    NAME/odom                     nav_msgs/Odometry              pose, and velocity in the world
    NAME/metarl                   LogDataGeneric                 IMU: the custom topic of docs/AUTOPILOTS.md
    NAME/status                   Status                         supervisor and battery
    NAME/cmd_vel_legacy           geometry_msgs/Twist            rates [deg/s]: linear.y roll, linear.x pitch, angular.z
                                                                 yaw; linear.z thrust in motor units
    NAME/cmd_full_state           FullState                      instead: rates [rad/s; FLU], the rest in the world
    /crazyflie_server/set_parameters                             rate mode: NAME.params.flightmode.stabModeRoll, …, or
                                                                 NAME.params.stabilizer.controller
    /crazyflie_server/get_parameters                             full states: scale of the controller's forces
    NAME/arm, NAME/notify_setpoints_stop, NAME/land              as in crazyflie_link.py

Messages and services are those of crazyflie_interfaces. The server stamps measurements when they arrive. Its backend
`cflib` has other signs and units (linear.x is negated once more; odometry in degrees): do not use it.

Source: crazyswarm2 (2025), crazyflie/src/crazyflie_server.cpp.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from time import monotonic
from typing import Any

import numpy as np
from geometry_msgs.msg import Twist
from nav_msgs.msg import Odometry
from numpy.typing import NDArray
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import GetParameters, SetParameters
from rclpy.node import Node

from metarl_robot.core.signals import State
from metarl_robot.robots.quadrotor.autopilot.motion import Motion
from metarl_robot.robots.quadrotor.autopilot.offboard import Request
from metarl_robot.robots.quadrotor.autopilot.rate_setpoint import RateSetpoint
from metarl_robot.robots.quadrotor.crazyflie.firmware_units import (
    FORCE_SCALE,
    FULL_STATE_MODE,
    RATE_MODE,
    USUAL_CONTROLLER,
    USUAL_MODE,
    Supervisor,
    full_state,
    inertial_of,
    normalised,
    rates_and_thrust,
    share_of,
    vehicle_of,
)
from metarl_robot.ros_nodes import topics
from metarl_robot.ros_nodes.bridges.autopilot_link import Listener
from metarl_robot.ros_nodes.convert import nanoseconds
from metarl_robot.ros_nodes.geometry import wxyz, xyz
from metarl_robot.ros_nodes.messages.provide import provide

Array = NDArray[np.float64]

ORDER = ("gyro.x", "gyro.y", "gyro.z", "acc.x", "acc.y", "acc.z", "stabilizer.thrust")
INPUTS = ("odom", "metarl", "status")
SERVER = "crazyflie_server"
ALOFT_M, LAND_M_S, SHORTEST_LANDING_S = 0.05, 0.4, 1.0
LOW_BATTERY_V, SILENT_S = 3.2, 2.0


class CrazyswarmLink:
    """See the module's docstring, and AutopilotLink.

    Arguments:
        node: creates the publishers, subscriptions and clients.
        name: of the robot in crazyflies.yaml.
        lands, floor_m: whether it lands by itself when control ends in flight, and the floor's height.
        listener: receives the measurements.
        full_m_s2: full states are sent, not rates and thrust; specific force of the nominal robot's full thrust.

    Raises:
        MessagesError: crazyflie_interfaces is neither installed nor can be built.
    """

    def __init__(
        self, node: Node, name: str, lands: bool, floor_m: float, listener: Listener, full_m_s2: float | None = None
    ) -> None:
        provide("crazyflie_interfaces", lambda text: node.get_logger().info(text))
        from crazyflie_interfaces import msg, srv

        self._node, self._name, self._lands, self._floor_m, self._listener = node, name, lands, floor_m, listener
        self._services, self._full_m_s2 = srv, full_m_s2
        self._pwm_per_m_s2: float | None = None  # of full states; None: not known yet
        self._asked_scale_s = -inf
        self._ours = self._unlocked = False
        self._info: Supervisor | None = None
        self._battery_v = inf
        self._height_m = self._ground_m = 0.0
        self._rates: Array | None = None
        self._heard_s: dict[str, float] = {}
        self._setpoints = node.create_publisher(Twist, f"{name}/cmd_vel_legacy", topics.COMMAND)
        self._full_states = node.create_publisher(msg.FullState, f"{name}/cmd_full_state", topics.COMMAND)
        self._inputs = [
            self._listen("odom", Odometry, self._on_odometry),
            self._listen("metarl", msg.LogDataGeneric, self._on_inertial),
            self._listen("status", msg.Status, self._on_status),
        ]
        self._parameters = node.create_client(SetParameters, f"{SERVER}/set_parameters")
        self._scale = node.create_client(GetParameters, f"{SERVER}/get_parameters")
        self._arming = node.create_client(srv.Arm, f"{name}/arm")
        self._stopping = node.create_client(srv.NotifySetpointsStop, f"{name}/notify_setpoints_stop")
        self._landing = node.create_client(srv.Land, f"{name}/land")

    # Called by the bridge.

    def send(self, setpoint: RateSetpoint) -> None:
        if not self._ours:
            return
        if setpoint.motion is not None and self._full_m_s2 is not None:
            self._publish_motion(setpoint.motion)
        elif (command := rates_and_thrust(setpoint)) is not None:
            self._publish(*command)

    def ask(self, request: Request) -> None:
        if request is Request.ARM:
            self.arm(True)
        elif not self._unlocked and self._full_m_s2 is None:
            self._listener.on_text("the thrust lock opens on the ground only: land, then take control", True)
        else:
            mode = RATE_MODE if self._full_m_s2 is None else FULL_STATE_MODE
            self._set_mode(mode).add_done_callback(self._on_mode)

    def arm(self, arm: bool) -> bool:
        """Ask the supervisor to arm or disarm; returns whether the server is there."""
        self._arming.call_async(self._services.Arm.Request(arm=arm))
        return bool(self._arming.service_is_ready())

    def release(self) -> None:
        """End of control: no setpoint any more; in flight the Crazyflie lands by itself."""
        had, self._ours = self._ours, False
        if not had:
            return
        self._stopping.call_async(self._services.NotifySetpointsStop.Request())
        if self._lands and self._is_aloft():
            land = self._services.Land.Request(height=self._floor_m)
            fall_s = max((self._height_m - self._floor_m) / LAND_M_S, SHORTEST_LANDING_S)
            land.duration.sec, land.duration.nanosec = int(fall_s), int(fall_s % 1.0 * 1e9)
            self._landing.call_async(land)
        self._set_mode(USUAL_MODE if self._full_m_s2 is None else USUAL_CONTROLLER)

    def tick(self, alive: bool) -> None:
        """Nothing: the server keeps the connection."""

    def problems(self) -> list[str]:
        now_s = monotonic()
        missing = [each for each in INPUTS if now_s - self._heard_s.get(each, -inf) > SILENT_S]
        found = [f"no message on {self._name}/{each}: see docs/AUTOPILOTS.md, crazyswarm2" for each in missing]
        if self._battery_v < LOW_BATTERY_V:
            found.append(f"battery {self._battery_v:.2f} V: land (low is {LOW_BATTERY_V} V)")
        return found

    def close(self) -> None:
        self.release()
        for subscription in self._inputs:
            self._node.destroy_subscription(subscription)
        for publisher in (self._setpoints, self._full_states):
            self._node.destroy_publisher(publisher)
        for client in (self._parameters, self._scale, self._arming, self._stopping, self._landing):
            self._node.destroy_client(client)

    # Messages and services of the server.

    def _listen(self, name: str, kind: Any, callback: Callable[[Any], None]) -> Any:
        def take(message: Any) -> None:
            self._heard_s[name] = monotonic()
            callback(message)

        return self._node.create_subscription(kind, f"{self._name}/{name}", take, topics.STATE_IN)

    def _publish(self, roll: float, pitch: float, yaw: float, thrust: int) -> None:
        message = Twist()
        message.linear.x, message.linear.y, message.linear.z, message.angular.z = pitch, roll, float(thrust), yaw
        self._setpoints.publish(message)

    def _publish_motion(self, motion: Motion) -> None:
        command = full_state(motion)
        if command is None:
            return
        message = self._full_states.msg_type()
        message.header.stamp = self._node.get_clock().now().to_msg()
        message.header.frame_id = "world"
        turned, angular = message.pose.orientation, message.twist.angular
        turned.x, turned.y, turned.z, turned.w = command.xyzw
        angular.x, angular.y, angular.z = command[4:]
        for vector, numbers in (
            (message.pose.position, command.position),
            (message.twist.linear, command.velocity),
            (message.acc, command.acceleration),
        ):
            vector.x, vector.y, vector.z = numbers
        self._full_states.publish(message)

    def _ask_scale(self) -> None:
        """The scale of forces of the firmware's controller, until it is known."""
        now_s = monotonic()
        if self._pwm_per_m_s2 is None and now_s - self._asked_scale_s > SILENT_S and self._scale.service_is_ready():
            self._asked_scale_s = now_s
            request = GetParameters.Request(names=[f"{self._name}.params.{name}" for name in FORCE_SCALE])
            self._scale.call_async(request).add_done_callback(self._on_scale)

    def _on_scale(self, future: Any) -> None:
        scale = [value.double_value for value in future.result().values]
        if len(scale) == len(FORCE_SCALE) and min(scale) > 0.0:
            self._pwm_per_m_s2 = float(np.prod(scale))

    def _share(self, pwm: float) -> float | None:
        """Thrust in motor units, normalised as the setpoints are; None: not known yet."""
        if self._full_m_s2 is None:
            return normalised(pwm)
        return None if self._pwm_per_m_s2 is None else share_of(pwm, self._pwm_per_m_s2, self._full_m_s2)

    def _set_mode(self, values: dict[str, int]) -> Any:
        kind = ParameterType.PARAMETER_INTEGER
        request = SetParameters.Request()
        request.parameters = [
            Parameter(name=f"{self._name}.params.{name}", value=ParameterValue(type=kind, integer_value=value))
            for name, value in values.items()
        ]
        return self._parameters.call_async(request)

    def _on_mode(self, future: Any) -> None:
        refused = [result.reason for result in future.result().results if not result.successful]
        self._ours = not refused
        if refused:
            self._listener.on_text(f"crazyflie_server refused the mode of our setpoints: {refused[0]}", True)

    def _on_odometry(self, message: Any) -> None:
        pose = message.pose.pose
        self._height_m = float(pose.position.z)
        if self._rates is not None:
            q = np.concatenate([xyz(pose.position), wxyz(pose.orientation)])
            v = np.concatenate([xyz(message.twist.twist.linear), self._rates])
            self._listener.on_state(nanoseconds(message.header.stamp), State(q, v))

    def _on_inertial(self, message: Any) -> None:
        if len(message.values) != len(ORDER) or not np.isfinite(message.values).all():
            return
        log = dict(zip(ORDER, message.values, strict=True))
        inertial = inertial_of(log)
        self._rates = inertial.rate
        if (share := self._share(log["stabilizer.thrust"])) is not None:
            self._listener.on_thrust(share)
        self._listener.on_inertial(nanoseconds(message.header.stamp), inertial)

    def _on_status(self, message: Any) -> None:
        self._info, self._battery_v = Supervisor(message.supervisor_info & 0xFF), float(message.battery_voltage)
        if Supervisor.FLYING not in self._info:
            self._ground_m = self._height_m
            if self._full_m_s2 is None:
                self._unlock()
        if self._full_m_s2 is not None:
            self._ask_scale()
        self._listener.on_flying(self._is_aloft())
        ours_is = "rates" if self._full_m_s2 is None else "full states"
        self._listener.on_vehicle(vehicle_of(self._info, self._ours, ours_is))

    def _is_aloft(self) -> bool:
        running = self._info is not None and Supervisor.FLYING in self._info
        return running and self._height_m > self._ground_m + ALOFT_M

    def _unlock(self) -> None:
        """Once, on the ground, as soon as the server listens: release the thrust lock."""
        if not self._unlocked and self._setpoints.get_subscription_count() and self._stopping.service_is_ready():
            self._unlocked = True
            self._publish(0.0, 0.0, 0.0, 0)
            self._stopping.call_async(self._services.NotifySetpointsStop.Request())
