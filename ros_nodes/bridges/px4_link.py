# SPDX-License-Identifier: Apache-2.0
"""PX4's own messages as ROS 2 topics, through its uXRCE-DDS agent.

    topic                              type                            from → to
    fmu/out/vehicle_odometry           px4_msgs/VehicleOdometry        PX4 → us: pose and velocity, NED and FRD
    fmu/out/sensor_combined            px4_msgs/SensorCombined         PX4 → us: IMU, FRD
    fmu/out/vehicle_status             px4_msgs/VehicleStatus          PX4 → us: armed, mode, failsafe
    fmu/out/failsafe_flags             px4_msgs/FailsafeFlags          PX4 → us: reasons, for people
    fmu/out/vehicle_land_detected      px4_msgs/VehicleLandDetected    PX4 → us: in the air or landed
    fmu/out/vehicle_command_ack        px4_msgs/VehicleCommandAck      PX4 → us
    fmu/in/offboard_control_mode       px4_msgs/OffboardControlMode    us → PX4: proof of life, with setpoints only
    fmu/in/vehicle_rates_setpoint      px4_msgs/VehicleRatesSetpoint   us → PX4: rates and thrust, FRD, thrust up is -z
    fmu/in/vehicle_attitude_setpoint   px4_msgs/VehicleAttitudeSetpoint us → PX4: instead, attitude and thrust
    fmu/in/vehicle_command             px4_msgs/VehicleCommand         us → PX4: mode, arming

A topic whose message has a version N > 0 is named with the suffix `_vN`; N is that of the px4_msgs that are imported,
which must be those of the vehicle's PX4 release. Names are relative to the node's namespace, as PX4's are to its own.
Best effort in both directions, as PX4 does. Stamps are microseconds, of our clock if PX4 synchronises
(UXRCE_DDS_SYNCT), else of its own, whose offset is then estimated.

Sources: PX4's documentation of uXRCE-DDS and of the offboard mode (v1.16), dds_topics.yaml.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from time import monotonic
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from metarl_robot.core import rotation
from metarl_robot.core.signals import Inertial, State
from metarl_robot.robots.quadrotor.autopilot import frames
from metarl_robot.robots.quadrotor.autopilot.clock_offset import ArrivalOffset
from metarl_robot.robots.quadrotor.autopilot.offboard import Request, Vehicle
from metarl_robot.robots.quadrotor.autopilot.rate_setpoint import RateSetpoint
from metarl_robot.ros_nodes.bridges.autopilot_link import Listener
from metarl_robot.ros_nodes.messages.provide import provide

Array = NDArray[np.float64]

PROOF_S = 0.02
"""Least time between two proofs of life."""
OFFBOARD, CUSTOM_MODE, ARMED = 6, 1.0, 1.0
SILENT_S = 2.0
_PREFIX = "NAVIGATION_STATE_"


def versioned(topic: str, message: Any) -> str:
    """The name of a topic of PX4's for a version of its message."""
    version = int(getattr(message, "MESSAGE_VERSION", 0))
    return f"{topic}_v{version}" if version > 0 else topic


class Px4Link:
    """See the module's docstring, and AutopilotLink.

    Arguments:
        node: creates the publishers and subscriptions.
        listener: receives the messages of PX4.
        clock_ns: our clock, whose times are the stamps.

    Raises:
        MessagesError: px4_msgs are neither installed nor can be built.
    """

    def __init__(self, node: Node, listener: Listener, clock_ns: Callable[[], int]) -> None:
        self._node, self._listener, self._now_ns = node, listener, clock_ns
        provide("px4_msgs", lambda text: node.get_logger().info(text))
        from px4_msgs import msg as messages

        self._messages = messages
        self._clock = ArrivalOffset()
        self._modes = {
            value: name.removeprefix(_PREFIX)
            for name, value in _constants(messages.VehicleStatus).items()
            if name.startswith(_PREFIX)
        }
        self._system = 1
        self._proved_s = -inf
        self._heard_s: dict[str, float] = {}
        self._flags: list[str] = []
        self._failsafe = False
        self._inputs = [
            self._listen("vehicle_odometry", messages.VehicleOdometry, self._on_odometry),
            self._listen("sensor_combined", messages.SensorCombined, self._on_imu, depth=50),
            self._listen("vehicle_status", messages.VehicleStatus, self._on_status),
            self._listen("failsafe_flags", messages.FailsafeFlags, self._on_flags),
            self._listen("vehicle_land_detected", messages.VehicleLandDetected, self._on_landed),
            self._listen("vehicle_command_ack", messages.VehicleCommandAck, self._on_answer, depth=10),
        ]
        self._proof = self._speak("offboard_control_mode", messages.OffboardControlMode)
        self._rates = self._speak("vehicle_rates_setpoint", messages.VehicleRatesSetpoint)
        self._attitudes = self._speak("vehicle_attitude_setpoint", messages.VehicleAttitudeSetpoint)
        self._commands = self._speak("vehicle_command", messages.VehicleCommand)

    # Called by the bridge.

    def send(self, setpoint: RateSetpoint) -> None:
        stamp_us, now_s = self._stamp_us(), monotonic()
        if now_s - self._proved_s >= PROOF_S:
            self._proved_s = now_s
            form = "body_rate" if setpoint.attitude is None else "attitude"
            self._proof.publish(self._messages.OffboardControlMode(timestamp=stamp_us, **{form: True}))
        if setpoint.attitude is None:
            roll, pitch, yaw = frames.body(setpoint.rates).tolist()
            message = self._messages.VehicleRatesSetpoint(timestamp=stamp_us, roll=roll, pitch=pitch, yaw=yaw)
            out = self._rates
        else:
            q = frames.attitude(setpoint.attitude).astype(np.float32)
            message, out = self._messages.VehicleAttitudeSetpoint(timestamp=stamp_us, q_d=q), self._attitudes
        message.thrust_body = np.array([0.0, 0.0, -setpoint.thrust], np.float32)
        out.publish(message)

    def ask(self, request: Request) -> None:
        kind = self._messages.VehicleCommand
        if request is Request.ARM:
            self._command(kind.VEHICLE_CMD_COMPONENT_ARM_DISARM, ARMED)
        else:
            self._command(kind.VEHICLE_CMD_DO_SET_MODE, CUSTOM_MODE, float(OFFBOARD))

    def release(self) -> None:
        """Nothing: the autopilot flies on in another mode."""

    def tick(self, alive: bool) -> None:
        """Nothing: the proof of life goes with the setpoints."""

    def problems(self) -> list[str]:
        missing = [name for name in ("vehicle_odometry", "vehicle_status") if self._is_silent(name)]
        found = [f"no message on {self._name_of(name)}: {self._hint(name)}" for name in missing]
        if self._failsafe and self._flags:
            found.append(f"PX4's failsafe flags: {', '.join(self._flags)}")
        return found

    def close(self) -> None:
        for subscription in self._inputs:
            self._node.destroy_subscription(subscription)
        for publisher in (self._proof, self._rates, self._attitudes, self._commands):
            self._node.destroy_publisher(publisher)

    # Topics.

    def _listen(self, name: str, kind: Any, callback: Callable[[Any], None], depth: int = 1) -> Any:
        qos = QoSProfile(depth=depth, reliability=ReliabilityPolicy.BEST_EFFORT)

        def take(message: Any) -> None:
            self._heard_s[name] = monotonic()
            callback(message)

        return self._node.create_subscription(kind, versioned(f"fmu/out/{name}", kind), take, qos)

    def _speak(self, name: str, kind: Any) -> Any:
        qos = QoSProfile(
            depth=1, reliability=ReliabilityPolicy.BEST_EFFORT, durability=DurabilityPolicy.TRANSIENT_LOCAL
        )
        return self._node.create_publisher(kind, versioned(f"fmu/in/{name}", kind), qos)

    def _is_silent(self, name: str) -> bool:
        return monotonic() - self._heard_s.get(name, -inf) > SILENT_S

    def _name_of(self, name: str) -> str:
        kind = {"vehicle_odometry": self._messages.VehicleOdometry, "vehicle_status": self._messages.VehicleStatus}
        return str(self._node.resolve_topic_name(versioned(f"fmu/out/{name}", kind[name])))

    def _hint(self, name: str) -> str:
        """The reason for a missing topic, as far as the graph shows it."""
        base = self._node.resolve_topic_name(f"fmu/out/{name}")
        others = [
            topic
            for topic, _ in self._node.get_topic_names_and_types()
            if (topic == base or topic.startswith(f"{base}_v"))
            and topic != self._name_of(name)
            and self._node.count_publishers(topic)
        ]
        if others:
            return f"PX4 publishes {', '.join(others)}; source the px4_msgs of its release"
        return "is the MicroXRCEAgent running, and PX4's client (uxrce_dds_client status)?"

    def _command(self, command: int, *numbers: float) -> None:
        message = self._messages.VehicleCommand(timestamp=self._stamp_us(), command=command, from_external=True)
        for index, number in enumerate(numbers):
            setattr(message, f"param{index + 1}", number)
        message.target_system, message.target_component = self._system, 1
        message.source_system, message.source_component = self._system, 1
        self._commands.publish(message)

    def _stamp_us(self) -> int:
        return int(self._clock.theirs_ns(self._now_ns()) // 1000)

    # Messages of PX4.

    def _on_odometry(self, message: Any) -> None:
        q, linear = _array(message.q), _array(message.velocity)
        if message.velocity_frame == message.VELOCITY_FRAME_BODY_FRD:
            linear = rotation.rotate(q, linear)
        pose = np.concatenate([frames.world(_array(message.position)), frames.attitude(q)])
        twist = np.concatenate([frames.world(linear), frames.body(_array(message.angular_velocity))])
        at_ns = 1000 * (message.timestamp_sample or message.timestamp)
        self._clock.arrived(at_ns, self._now_ns())
        if self._clock.known:
            self._listener.on_state(self._clock.ours_ns(at_ns), State(pose, twist))

    def _on_imu(self, message: Any) -> None:
        if self._clock.known and message.accelerometer_timestamp_relative != message.RELATIVE_TIMESTAMP_INVALID:
            force, rates = _array(message.accelerometer_m_s2), _array(message.gyro_rad)
            inertial = Inertial(frames.body(force), frames.body(rates))
            self._listener.on_inertial(self._clock.ours_ns(1000 * message.timestamp), inertial)

    def _on_status(self, message: Any) -> None:
        self._system = message.system_id or 1
        self._failsafe = bool(message.failsafe)
        armed = message.arming_state == message.ARMING_STATE_ARMED
        ours = message.nav_state == message.NAVIGATION_STATE_OFFBOARD
        mode = self._modes.get(message.nav_state, f"nav_state {message.nav_state}")
        self._listener.on_vehicle(Vehicle(armed, ours, mode, armed and self._failsafe))

    def _on_flags(self, message: Any) -> None:
        fields = message.get_fields_and_field_types()
        self._flags = [
            name for name, kind in fields.items() if kind == "boolean" and getattr(message, name)
        ]  # other fields are requirements of modes and levels

    def _on_landed(self, message: Any) -> None:
        self._listener.on_flying(not (message.landed or message.maybe_landed or message.ground_contact))

    def _on_answer(self, message: Any) -> None:
        kind = self._messages.VehicleCommand
        asked = {kind.VEHICLE_CMD_DO_SET_MODE: "the mode", kind.VEHICLE_CMD_COMPONENT_ARM_DISARM: "arming"}
        if message.command in asked and message.result != message.VEHICLE_CMD_RESULT_ACCEPTED:
            self._listener.on_text(f"PX4 refused {asked[message.command]}: result {message.result}", True)


def _array(values: Any) -> Array:
    return np.asarray(values, float)


def _constants(kind: Any) -> dict[str, int]:
    """The constants of a message."""
    names = [name for name in dir(type(kind)) if name.isupper()]
    return {name: getattr(kind, name) for name in names}
