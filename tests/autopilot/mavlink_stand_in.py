# SPDX-License-Identifier: Apache-2.0
"""The stand-in autopilot (vehicle.py) speaking MAVLink 2 over UDP, as PX4 in simulation does: it sends to the port of
an onboard computer. It is NOT PX4. Frames are converted here by matrices, independently of the bridge.

As PX4 does, it streams only HEARTBEAT at 1 Hz and slow telemetry until message intervals are asked for, answers
TIMESYNC with its own clock, acknowledges commands, and ignores setpoints whose type mask is not rates and thrust.
"""

from __future__ import annotations

import os
from math import ceil
from typing import Any

import numpy as np

from metarl_robot.core import rotation
from tests.autopilot.vehicle import HOLD, LAND, OFFBOARD, POSITION, Vehicle

os.environ["MAVLINK20"] = "1"
from pymavlink import mavutil
from pymavlink.dialects.v20 import ardupilotmega as mavlink

WORLD = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, -1.0]])
BODY = np.diag([1.0, -1.0, -1.0])
SYSTEM, COMPONENT = 7, mavlink.MAV_COMP_ID_AUTOPILOT1
MODES = {HOLD: (4, 3), OFFBOARD: (6, 0), LAND: (4, 6), POSITION: (3, 0)}
GUIDED = 4
COPTER = {HOLD: 5, OFFBOARD: GUIDED, LAND: 9, POSITION: 16}
BY_NUMBER = {numbers: name for name, numbers in MODES.items()}
WITHOUT_ASKING = {mavlink.MAVLINK_MSG_ID_HEARTBEAT: 1.0, mavlink.MAVLINK_MSG_ID_ATTITUDE: 0.05}
IGNORED_RATES = 1 | 2 | 4
NAN21 = [float("nan")] * 21


class MavlinkStandIn:
    """One vehicle on one link.

    Arguments:
        without: names of messages that this autopilot does not have.
        simulated_time: the other end has this autopilot's clock, perhaps a step late.
        firmware: 'px4', or 'ardupilot': its mode numbers and its parameter `guid_options`, the rest as PX4.

    Attributes:
        heartbeats_s: times of the other end's heartbeats. commands: (number, parameters) received, without intervals.
    """

    def __init__(
        self,
        vehicle: Vehicle,
        url: str,
        without: tuple[str, ...] = (),
        firmware: str = "px4",
        simulated_time: bool = False,
    ) -> None:
        self.vehicle, self.without, self._firmware = vehicle, without, firmware
        self._simulated_time = simulated_time
        self.guid_options = 0
        self.link = mavutil.mavlink_connection(
            url, source_system=SYSTEM, source_component=COMPONENT, dialect="ardupilotmega"
        )
        self.intervals_s = dict(WITHOUT_ASKING)
        self._due_s = dict.fromkeys(self.intervals_s, 0.0)
        self._sent_s: dict[int, float] = {}
        self.heartbeats_s: list[float] = []
        self.commands: list[tuple[int, tuple[float, ...]]] = []
        self.exchanges = 0
        self._senders = {
            getattr(mavlink, f"MAVLINK_MSG_ID_{name.upper()}"): (name.upper(), getattr(self, f"_{name}"))
            for name in (
                "heartbeat", "attitude", "attitude_quaternion", "local_position_ned", "odometry", "highres_imu",
                "scaled_imu", "extended_sys_state", "attitude_target",
            )
        }  # fmt: skip

    # Running.

    def step(self) -> None:
        """One period: what has arrived, the flight, what is due."""
        self.receive()
        self.vehicle.advance()
        self.transmit()

    # Receiving.

    def receive(self) -> None:
        while (message := self.link.recv_msg()) is not None:
            kind = message.get_type()
            if kind == "HEARTBEAT":
                self.heartbeats_s.append(self.vehicle.time_s)
            elif kind == "TIMESYNC" and message.tc1 == 0:
                self.exchanges += 1
                theirs_ns = message.ts1 if self._simulated_time else self.vehicle.boot_ns
                self.link.mav.timesync_send(theirs_ns, message.ts1)
            elif kind == "COMMAND_LONG":
                self._command(message)
            elif kind == "SET_ATTITUDE_TARGET":
                self._setpoint(message)
            elif kind == "PARAM_REQUEST_READ" and message.param_id == "GUID_OPTIONS":
                self.link.mav.param_value_send(b"GUID_OPTIONS", self.guid_options, mavlink.MAV_PARAM_TYPE_UINT32, 1, 0)

    def _setpoint(self, message: Any) -> None:
        ours = (message.target_system, message.target_component) == (SYSTEM, COMPONENT)
        if ours and message.type_mask == mavlink.ATTITUDE_TARGET_TYPEMASK_ATTITUDE_IGNORE:
            rates = np.array([message.body_roll_rate, message.body_pitch_rate, message.body_yaw_rate])
            self.vehicle.offer(BODY @ rates, message.thrust)
        elif ours and message.type_mask == IGNORED_RATES:
            turn = WORLD @ rotation.to_matrix(np.array(message.q, float)) @ BODY
            self.vehicle.offer_attitude(rotation.from_matrix(turn), message.thrust)

    def _command(self, message: Any) -> None:
        result = mavlink.MAV_RESULT_ACCEPTED
        if message.command == mavlink.MAV_CMD_SET_MESSAGE_INTERVAL:
            number = int(message.param1)
            if number not in self._senders or self._senders[number][0] in self.without:
                result = mavlink.MAV_RESULT_DENIED
            else:
                self.intervals_s[number] = message.param2 / 1e6
                self._due_s[number] = self.intervals_s[number] * ceil(self.vehicle.time_s / self.intervals_s[number])
        else:
            parameters = tuple(getattr(message, f"param{i}") for i in range(1, 8))
            self.commands.append((message.command, parameters))
            if not self._obey(message):
                result = mavlink.MAV_RESULT_TEMPORARILY_REJECTED
        self.link.mav.command_ack_send(message.command, result)

    def _obey(self, message: Any) -> bool:
        if message.command == mavlink.MAV_CMD_COMPONENT_ARM_DISARM:
            return self.vehicle.request_arm(message.param1 == 1.0)
        custom = int(message.param1) & mavlink.MAV_MODE_FLAG_CUSTOM_MODE_ENABLED
        name = BY_NUMBER.get((int(message.param2), int(message.param3)))
        if self._firmware == "ardupilot":
            name = OFFBOARD if message.param2 == GUIDED else None
        is_mode = message.command == mavlink.MAV_CMD_DO_SET_MODE and custom and name is not None
        return bool(is_mode) and self.vehicle.request_mode(str(name))

    # Sending.

    def transmit(self) -> None:
        """Messages that are due; called twice at one time, the same messages again."""
        now_s = self.vehicle.time_s
        for number, interval_s in self.intervals_s.items():
            due = now_s >= self._due_s[number] - 1e-9
            if due:
                self._due_s[number] = max(self._due_s[number] + interval_s, now_s - interval_s)
                self._sent_s[number] = now_s
            if due or self._sent_s.get(number) == now_s:
                name, send = self._senders[number]
                if name not in self.without:
                    send()

    def _heartbeat(self) -> None:
        vehicle = self.vehicle
        main, sub = MODES[vehicle.mode]
        flags = mavlink.MAV_MODE_FLAG_CUSTOM_MODE_ENABLED | (mavlink.MAV_MODE_FLAG_SAFETY_ARMED if vehicle.armed else 0)
        state = mavlink.MAV_STATE_CRITICAL if vehicle.failsafe else mavlink.MAV_STATE_ACTIVE
        mode, firmware = (sub << 24) | (main << 16), mavlink.MAV_AUTOPILOT_PX4
        if self._firmware == "ardupilot":
            mode, firmware = COPTER[vehicle.mode], mavlink.MAV_AUTOPILOT_ARDUPILOTMEGA
        self.link.mav.heartbeat_send(mavlink.MAV_TYPE_QUADROTOR, firmware, flags, mode, state)

    def _pose(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Position, quaternion, velocity [world], velocity [body] and rates, in NED and FRD."""
        state = self.vehicle.state
        turn = WORLD @ rotation.to_matrix(state.q[3:]) @ BODY
        velocity = WORLD @ state.v[:3]
        return WORLD @ state.q[:3], rotation.from_matrix(turn), velocity, turn.T @ velocity, BODY @ state.v[3:]

    @property
    def _boot_ms(self) -> int:
        return self.vehicle.boot_ns // 1_000_000

    @property
    def _boot_us(self) -> int:
        return self.vehicle.boot_ns // 1000

    def _odometry(self) -> None:
        position, q, _, velocity, rates = self._pose()
        frame, child, autopilot = mavlink.MAV_FRAME_LOCAL_NED, mavlink.MAV_FRAME_BODY_FRD, 8
        self.link.mav.odometry_send(
            self._boot_us, frame, child, *position, list(q), *velocity, *rates, NAN21, NAN21, 0, autopilot, 100
        )

    def _local_position_ned(self) -> None:
        position, _, velocity, _, _ = self._pose()
        self.link.mav.local_position_ned_send(self._boot_ms, *position, *velocity)

    def _attitude_quaternion(self) -> None:
        _, q, _, _, rates = self._pose()
        self.link.mav.attitude_quaternion_send(self._boot_ms, *q, *rates)

    def _attitude(self) -> None:
        _, q, _, _, rates = self._pose()
        r = rotation.to_matrix(q)
        roll, pitch, yaw = np.arctan2(r[2, 1], r[2, 2]), -np.arcsin(r[2, 0]), np.arctan2(r[1, 0], r[0, 0])
        self.link.mav.attitude_send(self._boot_ms, roll, pitch, yaw, *rates)

    def _highres_imu(self) -> None:
        state = self.vehicle.state
        assert state.specific_force is not None
        force, rates = BODY @ state.specific_force, BODY @ state.v[3:]
        self.link.mav.highres_imu_send(self._boot_us, *force, *rates, 0.2, 0.0, 0.4, 1013.0, 0.0, 0.0, 20.0, 0x3F)

    def _scaled_imu(self) -> None:
        state = self.vehicle.state
        assert state.specific_force is not None
        force, rates = BODY @ state.specific_force / 9.80665e-3, BODY @ state.v[3:] * 1e3
        self.link.mav.scaled_imu_send(
            self._boot_ms, *(int(round(x)) for x in force), *(int(round(x)) for x in rates), 0, 0, 0
        )

    def _extended_sys_state(self) -> None:
        flying = self.vehicle.flying
        landed = mavlink.MAV_LANDED_STATE_IN_AIR if flying else mavlink.MAV_LANDED_STATE_ON_GROUND
        self.link.mav.extended_sys_state_send(mavlink.MAV_VTOL_STATE_UNDEFINED, landed)

    def _attitude_target(self) -> None:
        self.link.mav.attitude_target_send(self._boot_ms, 0, [1.0, 0.0, 0.0, 0.0], 0.0, 0.0, 0.0, self.vehicle.thrust)
