# SPDX-License-Identifier: Apache-2.0
"""The stand-in autopilot (vehicle.py) speaking PX4's ROS 2 topics, as its uXRCE-DDS agent does. It is NOT PX4. Frames
are converted here by matrices, independently of the bridge.

Rates as in PX4's dds_topics.yaml: odometry at 100 Hz, the IMU at its own rate, status and flags at 5 Hz; best effort.
Stamps are microseconds of this machine's clock, as with UXRCE_DDS_SYNCT, or of the vehicle's own with `synchronised`
False. As in PX4, OffboardControlMode is the proof of life, and a setpoint alone is none.
"""

from __future__ import annotations

from time import time_ns
from typing import Any

import numpy as np
import rclpy
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from metarl_robot.core import rotation
from metarl_robot.ros_nodes.messages.provide import provide
from tests.autopilot.take import take_all
from tests.autopilot.vehicle import HOLD, LAND, OFFBOARD, POSITION, STEP_S, Vehicle

provide("px4_msgs")
from px4_msgs import msg as px4  # noqa: E402

WORLD = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, -1.0]])
BODY = np.diag([1.0, -1.0, -1.0])
NAV_STATES = {HOLD: 4, OFFBOARD: 14, LAND: 18, POSITION: 2}
MODES = {(6, 0): OFFBOARD, (4, 3): HOLD, (4, 6): LAND, (3, 0): POSITION}
ODOMETRY_STEPS, SLOW_STEPS = round(0.01 / STEP_S), round(0.2 / STEP_S)
SYSTEM = 3
BEST_EFFORT = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)
OUT = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class Px4StandIn:
    """One vehicle on PX4's topics. synchronised: see above; version: suffix of vehicle_status."""

    def __init__(self, vehicle: Vehicle, synchronised: bool = True, version: str = "_v1") -> None:
        self.vehicle, self._synchronised = vehicle, synchronised
        self._context = rclpy.Context()
        self._context.init()
        self.node = rclpy.create_node("px4_stand_in", context=self._context)
        self._steps, self._by_attitude = 0, False
        self._begun_ns = time_ns() - vehicle.boot_ns
        self.commands: list[tuple[int, float]] = []
        self._out = {
            "vehicle_odometry": self._speak(px4.VehicleOdometry, "vehicle_odometry"),
            "sensor_combined": self._speak(px4.SensorCombined, "sensor_combined"),
            "vehicle_status": self._speak(px4.VehicleStatus, f"vehicle_status{version}"),
            "failsafe_flags": self._speak(px4.FailsafeFlags, "failsafe_flags"),
            "vehicle_land_detected": self._speak(px4.VehicleLandDetected, "vehicle_land_detected"),
            "vehicle_command_ack": self._speak(px4.VehicleCommandAck, "vehicle_command_ack"),
        }
        self._listen(px4.OffboardControlMode, "offboard_control_mode", self._on_proof)
        self._listen(px4.VehicleRatesSetpoint, "vehicle_rates_setpoint", self._on_rates)
        self._listen(px4.VehicleAttitudeSetpoint, "vehicle_attitude_setpoint_v1", self._on_attitude)
        self._listen(px4.VehicleCommand, "vehicle_command", self._on_command)

    def _speak(self, kind: Any, name: str) -> Any:
        return self.node.create_publisher(kind, f"/fmu/out/{name}", OUT)

    def _listen(self, kind: Any, name: str, callback: Any) -> None:
        self.node.create_subscription(kind, f"/fmu/in/{name}", callback, BEST_EFFORT)

    def step(self) -> None:
        self.receive()
        self.vehicle.advance()
        self._steps += 1
        self.transmit()

    def receive(self) -> None:
        take_all(self.node)

    def close(self) -> None:
        self.node.destroy_node()
        self._context.try_shutdown()

    # In.

    def _on_proof(self, message: Any) -> None:
        if (message.body_rate or message.attitude) and not (
            message.position or message.velocity or message.acceleration
        ):
            self._by_attitude = message.attitude  # as in PX4, the outer loop's setpoint counts
            self.vehicle.prove()

    def _on_rates(self, message: Any) -> None:
        rates = BODY @ np.array([message.roll, message.pitch, message.yaw])
        if not self._by_attitude:
            self.vehicle.accept(rates, -float(message.thrust_body[2]))

    def _on_attitude(self, message: Any) -> None:
        turn = WORLD @ rotation.to_matrix(np.asarray(message.q_d, float)) @ BODY
        if self._by_attitude:
            self.vehicle.accept_attitude(rotation.from_matrix(turn), -float(message.thrust_body[2]))

    def _on_command(self, message: Any) -> None:
        self.commands.append((message.command, message.param1))
        accepted = False
        if message.command == 400:
            accepted = self.vehicle.request_arm(message.param1 == 1.0)
        elif message.command == 176 and int(message.param1) & 1:
            mode = MODES.get((int(message.param2), int(message.param3)))
            accepted = mode is not None and self.vehicle.request_mode(mode)
        answer = px4.VehicleCommandAck(timestamp=self._now_us, command=message.command, result=0 if accepted else 1)
        self._out["vehicle_command_ack"].publish(answer)

    # Out.

    @property
    def _now_us(self) -> int:
        ahead_ns = self._begun_ns if self._synchronised else 0
        return (self.vehicle.boot_ns + ahead_ns) // 1000

    def transmit(self) -> None:
        """Messages of this time; called twice, the same messages again."""
        self._out["sensor_combined"].publish(self._imu())
        if self._steps % ODOMETRY_STEPS == 0:
            self._out["vehicle_odometry"].publish(self._odometry())
        if self._steps % SLOW_STEPS == 0:
            self._out["vehicle_status"].publish(self._status())
            lost = not self.vehicle.proof_of_life()
            flags = px4.FailsafeFlags(timestamp=self._now_us, offboard_control_signal_lost=lost)
            self._out["failsafe_flags"].publish(flags)
            landed = not self.vehicle.flying
            self._out["vehicle_land_detected"].publish(px4.VehicleLandDetected(timestamp=self._now_us, landed=landed))

    def _imu(self) -> Any:
        state = self.vehicle.state
        assert state.specific_force is not None
        message = px4.SensorCombined(timestamp=self._now_us)
        message.gyro_rad = (BODY @ state.v[3:]).astype(np.float32)
        message.accelerometer_m_s2 = (BODY @ state.specific_force).astype(np.float32)
        return message

    def _odometry(self) -> Any:
        state = self.vehicle.state
        message = px4.VehicleOdometry(timestamp=self._now_us + 300, timestamp_sample=self._now_us)
        message.pose_frame, message.velocity_frame = message.POSE_FRAME_NED, message.VELOCITY_FRAME_NED
        message.position = (WORLD @ state.q[:3]).astype(np.float32)
        turn = WORLD @ rotation.to_matrix(state.q[3:]) @ BODY
        message.q = rotation.from_matrix(turn).astype(np.float32)
        message.velocity = (WORLD @ state.v[:3]).astype(np.float32)
        message.angular_velocity = (BODY @ state.v[3:]).astype(np.float32)
        return message

    def _status(self) -> Any:
        vehicle = self.vehicle
        message = px4.VehicleStatus(timestamp=self._now_us, nav_state=NAV_STATES[vehicle.mode], system_id=SYSTEM)
        message.arming_state = message.ARMING_STATE_ARMED if vehicle.armed else message.ARMING_STATE_DISARMED
        message.failsafe = vehicle.failsafe
        return message
