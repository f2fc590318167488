# SPDX-License-Identifier: Apache-2.0
"""MAVLink 2 with an autopilot: PX4, or ArduPilot Copter.

    message                            from → to
    HEARTBEAT                          both, 1 Hz: armed, mode, state; the autopilot's is asked for at 5 Hz
    ODOMETRY                           autopilot → us (PX4); or else
    LOCAL_POSITION_NED + ATTITUDE_QUATERNION or ATTITUDE
    HIGHRES_IMU, or else SCALED_IMU    autopilot → us
    ATTITUDE_TARGET                    autopilot → us: the thrust that it commands
    EXTENDED_SYS_STATE                 autopilot → us: in the air or landed
    TIMESYNC                           both, 10 Hz: clocks
    COMMAND_LONG                       us → autopilot: message intervals, mode, arming; answered by COMMAND_ACK
    SET_ATTITUDE_TARGET                us → autopilot: thrust from 0 to 1, and body rates [FRD] or an attitude
                                       [FRD→NED]; the other is ignored
    PARAM_REQUEST_READ                 us → ArduPilot: GUID_OPTIONS, see below

Sources: mavlink.io, common message set and the services "Time Synchronization" and "Commands"; PX4's documentation of
the offboard mode; ArduPilot's "Copter commands in guided mode". PX4 follows setpoints in its mode OFFBOARD, ArduPilot
in GUIDED. ArduPilot takes the field `thrust` for a climb rate unless bit 3 of GUID_OPTIONS is set; without it we send
no setpoint and do not ask for the mode.

A thread reads the connection. Nothing else of this module blocks.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from math import inf
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core import rotation
from metarl_robot.core.errors import MetaRLError, one_line
from metarl_robot.core.signals import Inertial, State
from metarl_robot.robots.quadrotor.autopilot import frames
from metarl_robot.robots.quadrotor.autopilot.clock_offset import ClockOffset
from metarl_robot.robots.quadrotor.autopilot.offboard import Request, Vehicle
from metarl_robot.robots.quadrotor.autopilot.rate_setpoint import RateSetpoint
from metarl_robot.ros_nodes.bridges.autopilot_link import Listener

os.environ["MAVLINK20"] = "1"  # read when pymavlink is imported
try:
    from pymavlink import mavutil
    from pymavlink.dialects.v20 import ardupilotmega as mavlink
except ImportError as error:
    raise MetaRLError("the MAVLink bridge needs pymavlink: pip install 'metarl_robot[mavlink]'") from error

Array = NDArray[np.float64]

HEARTBEAT_S, ASK_AGAIN_S, SCAN_S = 1.0, 2.0, 0.1
SILENT_S = 1.0
"""ODOMETRY that stays away for this long after it was asked for is replaced by position and attitude."""
LEAST_SHARE = 0.7
"""A message that comes more rarely than this share of its wanted rate is asked for again."""
FARTHEST_S = 0.05
"""A position is combined with an attitude that is not farther away than this."""
SLOW_HZ = 5.0
G_M_S2, MILLI = 9.80665, 1e-3
THRUST_IS_THRUST = 8  # bit 3 of ArduPilot's GUID_OPTIONS
PX4_OFFBOARD, COPTER_GUIDED = 6, 4
_EXAMPLES = "udpin:127.0.0.1:14540 (PX4 in simulation) and /dev/ttyACM0"
_PX4_MODES = {
    1: "MANUAL", 2: "ALTCTL", 3: "POSCTL", 4: "AUTO", 5: "ACRO", 6: "OFFBOARD", 7: "STABILIZED", 8: "RATTITUDE",
}  # fmt: skip
_PX4_AUTO = {1: "READY", 2: "TAKEOFF", 3: "LOITER", 4: "MISSION", 5: "RTL", 6: "LAND", 8: "FOLLOW", 9: "PRECLAND"}
_RATES_AND_THRUST = mavlink.ATTITUDE_TARGET_TYPEMASK_ATTITUDE_IGNORE
_ATTITUDE_AND_THRUST = (
    mavlink.ATTITUDE_TARGET_TYPEMASK_BODY_ROLL_RATE_IGNORE
    | mavlink.ATTITUDE_TARGET_TYPEMASK_BODY_PITCH_RATE_IGNORE
    | mavlink.ATTITUDE_TARGET_TYPEMASK_BODY_YAW_RATE_IGNORE
)
_FAILSAFES = (mavlink.MAV_STATE_CRITICAL, mavlink.MAV_STATE_EMERGENCY, mavlink.MAV_STATE_FLIGHT_TERMINATION)
_IN_AIR = (mavlink.MAV_LANDED_STATE_IN_AIR, mavlink.MAV_LANDED_STATE_TAKEOFF, mavlink.MAV_LANDED_STATE_LANDING)
_COMMANDS = {
    mavlink.MAV_CMD_DO_SET_MODE: "the mode", mavlink.MAV_CMD_COMPONENT_ARM_DISARM: "arming",
}  # fmt: skip


class Rates(NamedTuple):
    """Rates of the messages to ask for [Hz]."""

    odometry_hz: float
    imu_hz: float


class Attitude(NamedTuple):
    """An attitude as received: time of the autopilot's clock [ns], q (4,) [FRD→NED], rates (3,) [rad/s; FRD]."""

    at_ns: int
    q: Array
    rates: Array


def check_url(url: str) -> None:
    """Raise MetaRLError for neither a connection with host and port nor a serial device that exists."""
    if ":" not in url and not Path(url).exists():
        raise MetaRLError(f"url '{url}' has no host and port, and no such serial device exists; examples: {_EXAMPLES}")


class MavlinkLink:
    """See the module's docstring, and AutopilotLink.

    Arguments:
        url: as pymavlink names connections: `udpin:HOST:PORT`, `udpout:HOST:PORT`, `tcp:HOST:PORT`, or a serial device.
        baud: of a serial device.
        rates: of the messages.
        listener: receives the messages of the autopilot.
        clock_ns: our clock, whose times are the stamps.

    Raises:
        MetaRLError: the connection cannot be opened; the message names the reason.
    """

    def __init__(self, url: str, baud: int, rates: Rates, listener: Listener, clock_ns: Callable[[], int]) -> None:
        check_url(url)
        self._url, self._rates, self._listener, self._clock_ns = url, rates, listener, clock_ns
        try:
            self._connection = mavutil.mavlink_connection(
                url, baud=baud, source_system=1, source_component=mavlink.MAV_COMP_ID_ONBOARD_COMPUTER,
                dialect="ardupilotmega", autoreconnect=True,
            )  # fmt: skip
        except Exception as error:
            raise MetaRLError(f"url '{url}' cannot be opened: {one_line(error)}; examples: {_EXAMPLES}") from error
        self._lock = threading.Lock()  # of sending
        self._target: tuple[int, int] | None = None
        self._autopilot = -1
        self._guid_options: int | None = None
        self._offset = ClockOffset()
        self._attitude: Attitude | None = None
        self._first_s = self._odometry_s = self._imu_s = -inf
        self._beat_s = self._asked_s = -inf
        self._heard: Counter[str] = Counter()
        self._heard_before: Counter[str] = Counter()
        self._errors: Counter[str] = Counter()
        self._readers = {
            "HEARTBEAT": self._on_heartbeat, "ODOMETRY": self._on_odometry, "TIMESYNC": self._on_timesync,
            "LOCAL_POSITION_NED": self._on_position, "ATTITUDE_QUATERNION": self._on_quaternion,
            "ATTITUDE": self._on_angles, "HIGHRES_IMU": self._on_imu, "SCALED_IMU": self._on_scaled_imu,
            "EXTENDED_SYS_STATE": self._on_landed, "ATTITUDE_TARGET": self._on_attitude_target,
            "COMMAND_ACK": self._on_answer, "STATUSTEXT": self._on_text, "PARAM_VALUE": self._on_parameter,
        }  # fmt: skip
        self._open = True
        self._reader = threading.Thread(target=self._read, name="mavlink", daemon=True)
        self._reader.start()

    # Called by the bridge.

    def send(self, setpoint: RateSetpoint) -> None:
        if self._target is None or self._climbs_instead():
            return
        mask, q, rates = _RATES_AND_THRUST, [1.0, 0.0, 0.0, 0.0], frames.body(setpoint.rates).tolist()
        if setpoint.attitude is not None:
            mask, q, rates = _ATTITUDE_AND_THRUST, frames.attitude(setpoint.attitude).tolist(), [0.0, 0.0, 0.0]
        if np.isfinite([*q, *rates]).all() and 0.0 <= setpoint.thrust <= 1.0:
            stamp_ms = (self._clock_ns() // 1_000_000) % 2**32
            self._send("set_attitude_target", stamp_ms, *self._target, mask, q, *rates, setpoint.thrust)

    def ask(self, request: Request) -> None:
        if request is Request.ARM:
            self._command(mavlink.MAV_CMD_COMPONENT_ARM_DISARM, 1.0)
        elif not self._climbs_instead():
            mode = COPTER_GUIDED if self._is_ardupilot else PX4_OFFBOARD
            self._command(mavlink.MAV_CMD_DO_SET_MODE, mavlink.MAV_MODE_FLAG_CUSTOM_MODE_ENABLED, mode)

    def release(self) -> None:
        """Nothing: the autopilot flies on in another mode."""

    def tick(self, alive: bool) -> None:
        now_s = monotonic()
        if alive and now_s - self._beat_s >= HEARTBEAT_S:
            self._beat_s = now_s
            kind, none = mavlink.MAV_TYPE_ONBOARD_CONTROLLER, mavlink.MAV_AUTOPILOT_INVALID
            self._send("heartbeat", kind, none, 0, 0, mavlink.MAV_STATE_ACTIVE)
        if self._target is None:
            return
        self._send("timesync", 0, self._clock_ns())
        if now_s - self._asked_s >= ASK_AGAIN_S:
            self._ask_for_messages(now_s)

    def problems(self) -> list[str]:
        if self._target is None:
            return [f"no autopilot heard on {self._url}"]
        found = []
        if not self._offset.known:
            found.append("the autopilot does not answer TIMESYNC: measurements have no time")
        if self._climbs_instead():
            found.append("ArduPilot takes thrust for a climb rate: set bit 3 of GUID_OPTIONS (add 8)")
        found += [f"{count} times {name}" for name, count in self._errors.items()]
        return found

    def close(self) -> None:
        self._open = False
        self._reader.join(1.0)
        with suppress(Exception):
            self._connection.close()

    # Requests.

    @property
    def _is_ardupilot(self) -> bool:
        return self._autopilot == mavlink.MAV_AUTOPILOT_ARDUPILOTMEGA

    def _climbs_instead(self) -> bool:
        """Whether ArduPilot would take thrust for a climb rate, or has not said."""
        return self._is_ardupilot and not (self._guid_options or 0) & THRUST_IS_THRUST

    def _wanted(self, now_s: float) -> dict[str, float]:
        """Messages to ask for, with their rates [Hz]."""
        wanted = {"HEARTBEAT": SLOW_HZ, "EXTENDED_SYS_STATE": SLOW_HZ, "ATTITUDE_TARGET": 4.0 * SLOW_HZ}
        waited = now_s - self._first_s > SILENT_S
        odometry_hz, imu_hz = self._rates
        if not self._is_ardupilot:
            wanted["ODOMETRY"] = odometry_hz
        if self._is_ardupilot or (waited and now_s - self._odometry_s > SILENT_S):
            wanted |= {"LOCAL_POSITION_NED": odometry_hz, "ATTITUDE_QUATERNION": odometry_hz}
            if self._heard["LOCAL_POSITION_NED"] and not self._heard["ATTITUDE_QUATERNION"]:
                wanted["ATTITUDE"] = odometry_hz
        wanted["HIGHRES_IMU"] = imu_hz
        if self._is_ardupilot and waited and now_s - self._imu_s > SILENT_S:
            wanted["SCALED_IMU"] = imu_hz
        return wanted

    def _ask_for_messages(self, now_s: float) -> None:
        """Ask for the messages that come too rarely since the last time."""
        passed_s, self._asked_s = now_s - self._asked_s, now_s
        heard = self._heard - self._heard_before
        self._heard_before = self._heard.copy()
        for name, hz in self._wanted(now_s).items():
            if heard[name] < LEAST_SHARE * hz * min(passed_s, ASK_AGAIN_S):
                number = getattr(mavlink, f"MAVLINK_MSG_ID_{name}")
                self._command(mavlink.MAV_CMD_SET_MESSAGE_INTERVAL, number, 1e6 / hz)
        if self._is_ardupilot:
            self._send("param_request_read", *(self._target or (0, 0)), b"GUID_OPTIONS", -1)

    def _command(self, command: int, *numbers: float) -> None:
        padded = [*numbers, *[0.0] * (7 - len(numbers))]
        if self._target is not None:
            self._send("command_long", *self._target, command, 0, *padded)

    def _send(self, message: str, *arguments: Any) -> None:
        try:
            with self._lock:
                getattr(self._connection.mav, f"{message}_send")(*arguments)
        except Exception as error:  # the other end is not there (yet)
            self._errors[f"not sent: {one_line(error)}"] += 1

    # Messages of the autopilot.

    def _read(self) -> None:
        while self._open:
            try:
                if not self._connection.select(SCAN_S):
                    continue
                while self._open and (message := self._connection.recv_msg()) is not None:
                    self._take(message)
            except Exception as error:  # a broken connection, or a message unlike its definition
                self._errors[f"not read: {type(error).__name__}: {one_line(error)}"] += 1
                threading.Event().wait(SCAN_S)

    def _take(self, message: Any) -> None:
        kind = message.get_type()
        source = (message.get_srcSystem(), message.get_srcComponent())
        if kind == "HEARTBEAT" and self._target is None and _is_autopilot(message):
            self._target, self._first_s = source, monotonic()
            self._autopilot = message.autopilot
            self._connection.mav.srcSystem = source[0]  # a companion computer has its vehicle's number
            self._listener.on_text(f"autopilot {source[0]}/{source[1]} heard on {self._url}", False)
        if source != self._target or kind not in self._readers:
            return
        self._heard[kind] += 1
        self._readers[kind](message)

    def _on_heartbeat(self, message: Any) -> None:
        armed = bool(message.base_mode & mavlink.MAV_MODE_FLAG_SAFETY_ARMED)
        mode, ours = _mode(message)
        self._listener.on_vehicle(Vehicle(armed, ours, mode, armed and message.system_status in _FAILSAFES))

    def _on_timesync(self, message: Any) -> None:
        if message.tc1 == 0:  # a request
            self._send("timesync", self._clock_ns(), message.ts1)
        else:
            self._offset.exchange(message.ts1, message.tc1, self._clock_ns())

    def _on_odometry(self, message: Any) -> None:
        self._odometry_s = monotonic()
        if message.frame_id not in (mavlink.MAV_FRAME_LOCAL_NED, mavlink.MAV_FRAME_LOCAL_FRD):
            self._errors[f"ODOMETRY in frame {message.frame_id}; must be LOCAL_NED or LOCAL_FRD"] += 1
            return
        q, linear = np.array(message.q, float), np.array([message.vx, message.vy, message.vz])
        if message.child_frame_id in (mavlink.MAV_FRAME_BODY_FRD, mavlink.MAV_FRAME_BODY_NED):
            linear = rotation.rotate(q, linear)
        rates = np.array([message.rollspeed, message.pitchspeed, message.yawspeed])
        position = np.array([message.x, message.y, message.z])
        self._state(1000 * message.time_usec, position, q, linear, rates)

    def _on_quaternion(self, message: Any) -> None:
        q = np.array([message.q1, message.q2, message.q3, message.q4])
        self._keep_attitude(message, q)

    def _on_angles(self, message: Any) -> None:
        if self._heard["ATTITUDE_QUATERNION"] == 0:
            self._keep_attitude(message, frames.attitude_of_angles(message.roll, message.pitch, message.yaw))

    def _keep_attitude(self, message: Any, q: Array) -> None:
        rates = np.array([message.rollspeed, message.pitchspeed, message.yawspeed])
        self._attitude = Attitude(1_000_000 * message.time_boot_ms, q, rates)

    def _on_position(self, message: Any) -> None:
        attitude, at_ns = self._attitude, 1_000_000 * message.time_boot_ms
        if attitude is None or monotonic() - self._odometry_s < SILENT_S:
            return
        apart_s = (at_ns - attitude.at_ns) / 1e9
        if abs(apart_s) <= FARTHEST_S:
            q = rotation.integrate(attitude.q, attitude.rates, apart_s)
            position, linear = (np.array([getattr(message, prefix + axis) for axis in "xyz"]) for prefix in ("", "v"))
            self._state(at_ns, position, q, linear, attitude.rates)

    def _state(self, at_ns: int, position: Array, q: Array, linear: Array, rates: Array) -> None:
        """Position and velocity in NED, attitude FRD→NED, rates in FRD."""
        if self._offset.known:
            pose = np.concatenate([frames.world(position), frames.attitude(q)])
            twist = np.concatenate([frames.world(linear), frames.body(rates)])
            self._listener.on_state(self._offset.ours_ns(at_ns), State(pose, twist))

    def _on_imu(self, message: Any) -> None:
        self._imu_s = monotonic()
        force = np.array([message.xacc, message.yacc, message.zacc])
        rates = np.array([message.xgyro, message.ygyro, message.zgyro])
        self._inertial(1000 * message.time_usec, force, rates)

    def _on_scaled_imu(self, message: Any) -> None:
        if monotonic() - self._imu_s > SILENT_S:
            force = MILLI * G_M_S2 * np.array([message.xacc, message.yacc, message.zacc])
            rates = MILLI * np.array([message.xgyro, message.ygyro, message.zgyro])
            self._inertial(1_000_000 * message.time_boot_ms, force, rates)

    def _inertial(self, at_ns: int, force: Array, rates: Array) -> None:
        if self._offset.known:
            inertial = Inertial(frames.body(force), frames.body(rates))
            self._listener.on_inertial(self._offset.ours_ns(at_ns), inertial)

    def _on_landed(self, message: Any) -> None:
        self._listener.on_flying(message.landed_state in _IN_AIR)

    def _on_attitude_target(self, message: Any) -> None:
        if np.isfinite(message.thrust):
            self._listener.on_thrust(float(message.thrust))

    def _on_answer(self, message: Any) -> None:
        asked = _COMMANDS.get(message.command)
        if asked is not None and message.result != mavlink.MAV_RESULT_ACCEPTED:
            result = mavlink.enums["MAV_RESULT"].get(message.result)
            name = result.name.removeprefix("MAV_RESULT_").lower() if result else str(message.result)
            self._listener.on_text(f"the autopilot refused {asked}: {name}", True)

    def _on_text(self, message: Any) -> None:
        is_problem = message.severity <= mavlink.MAV_SEVERITY_WARNING
        self._listener.on_text(f"autopilot: {message.text.strip()}", is_problem)

    def _on_parameter(self, message: Any) -> None:
        if message.param_id == "GUID_OPTIONS":
            self._guid_options = round(message.param_value)


def _is_autopilot(message: Any) -> bool:
    return message.autopilot not in (mavlink.MAV_AUTOPILOT_INVALID, mavlink.MAV_AUTOPILOT_GENERIC)


def _mode(message: Any) -> tuple[str, bool]:
    """The name of an autopilot's mode, and whether it follows our setpoints in it."""
    if message.autopilot == mavlink.MAV_AUTOPILOT_ARDUPILOTMEGA:
        names = mavutil.mode_mapping_bynumber(message.type) or {}
        return names.get(message.custom_mode, f"mode {message.custom_mode}"), message.custom_mode == COPTER_GUIDED
    main, sub = (message.custom_mode >> 16) & 0xFF, message.custom_mode >> 24
    name = _PX4_MODES.get(main, f"mode {main}")
    return (f"{name}.{_PX4_AUTO.get(sub, sub)}" if name == "AUTO" else name), main == PX4_OFFBOARD
