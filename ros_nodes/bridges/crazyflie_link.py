# SPDX-License-Identifier: Apache-2.0
"""A Crazyflie over its radio, USB or UDP, by Bitcraze's own cflib.

    CRTP port, cflib                   from → to
    5 log                              Crazyflie → us: state and IMU (100 Hz), supervisor and battery (20 Hz)
    3 commander.send_setpoint          us → Crazyflie: rates and thrust, only between taking and handing back control
    7 send_full_state_setpoint         us → Crazyflie: full states instead
    6 loc.send_extpose                 us → Crazyflie: a motion capture's poses for its estimator
    2 param                            us → Crazyflie: rate mode, or the controller of full states, while we have
                                       control; the former values afterwards
    9 supervisor.send_arming_request   us → Crazyflie, when told
    7, 8 notify_setpoint_stop, land    us → Crazyflie, at the end of control in flight: nobody else would fly it

A Crazyflie has no modes. It follows the newest setpoint, so that none is sent before control is taken; the request for
the mode sets these parameters, and the link reports `ours` once the firmware has confirmed them. For rates and thrust,
one setpoint with thrust 0 is sent when the link opens on the ground: it releases the firmware's thrust lock
(firmware_units.py).

cflib is under the GPL; it is imported only here, when this bridge runs.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from math import inf, isfinite
from time import monotonic, sleep
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.errors import MetaRLError, shortened
from metarl_robot.robots.quadrotor.autopilot.clock_offset import ArrivalOffset
from metarl_robot.robots.quadrotor.autopilot.offboard import Request
from metarl_robot.robots.quadrotor.autopilot.rate_setpoint import RateSetpoint
from metarl_robot.robots.quadrotor.crazyflie.firmware_units import (
    FORCE_SCALE,
    FULL_STATE_MODE,
    INERTIAL_LOG,
    MOST_FULL_STATE,
    RATE_MODE,
    STATE_LOG,
    STATUS_LOG,
    Supervisor,
    Ticks,
    full_state,
    inertial_of,
    normalised,
    rates_and_thrust,
    share_of,
    state_of,
    vehicle_of,
)
from metarl_robot.ros_nodes.bridges.autopilot_link import Listener

try:
    import cflib.crtp
    from cflib.crazyflie import Crazyflie
    from cflib.crazyflie.log import LogConfig
except ImportError as error:
    raise MetaRLError("the Crazyflie bridge needs cflib: pip install 'metarl_robot[crazyflie]'") from error

Array = NDArray[np.float64]

FAST_MS, SLOW_MS = 10, 50
"""Periods of the logs; 10 ms is the firmware's shortest."""
CONNECT_S, AGAIN_S = 20.0, 2.0
"""Longest time to connect (hundreds of packets), and the time between two tries."""
ALOFT_M = 0.05
"""It flies when it is this much higher than where its motors started."""
LAND_M_S, SHORTEST_LANDING_S = 0.4, 1.0
LOW_BATTERY_V = 3.2
FLUSH_S = 0.05
SCHEMES = ("radio://", "usb://", "udp://", "tcp://", "serial://")
ESTIMATOR, KALMAN, RESET = "stabilizer.estimator", 2, "kalman.resetEstimation"

logging.getLogger("cflib").setLevel(logging.CRITICAL)  # its errors come to us by callbacks


class Options(NamedTuple):
    """lands: whether the Crazyflie lands by itself when control ends in flight, at height floor_m of its estimate.
    external_pose: whether poses come from motion capture. full_m_s2: full states are sent, not rates and thrust; the
    specific force of the nominal robot's full thrust.
    """

    lands: bool = True
    floor_m: float = 0.0
    external_pose: bool = False
    full_m_s2: float | None = None

    @property
    def full_state(self) -> bool:
        return self.full_m_s2 is not None


class CrazyflieLink:
    """See the module's docstring, and AutopilotLink.

    Arguments:
        uri: as cflib names links: `radio://0/80/2M/E7E7E7E7E7`, `usb://0`, `udp://HOST:PORT`.
        options: see there.
        listener: receives the measurements.
        clock_ns: our clock, whose times are the stamps.

    Raises:
        MetaRLError: the URI is none.
    """

    def __init__(self, uri: str, options: Options, listener: Listener, clock_ns: Callable[[], int]) -> None:
        if not uri.startswith(SCHEMES):
            raise MetaRLError(
                f"url '{uri}' names no link; examples: radio://0/80/2M/E7E7E7E7E7 (Crazyradio 0, channel 80), usb://0 "
                "and udp://127.0.0.1:19850 (simulation)"
            )
        self._uri, self._options, self._listener, self._clock_ns = uri, options, listener, clock_ns
        self._mode = FULL_STATE_MODE if options.full_state else RATE_MODE
        cflib.crtp.init_drivers()
        self._cf: Any = Crazyflie()
        self._trouble = "not connected yet"
        self._tried_s = -inf
        self._open = self._closed = False
        self._forget()
        for caller, callback in (
            (self._cf.fully_connected, self._on_connected),
            (self._cf.connection_failed, self._on_trouble),
            (self._cf.connection_lost, self._on_trouble),
            (self._cf.disconnected_link_error, self._on_trouble),
            (self._cf.console.receivedChar, self._on_console),
        ):
            caller.add_callback(callback)
        self._cf.param.add_update_callback(cb=self._on_parameter)

    def _forget(self) -> None:
        """What is known of a connected Crazyflie."""
        self._connected = False
        self._ours = self._wanted = False
        self._info: Supervisor | None = None
        self._battery_v = inf
        self._height_m = self._ground_m = 0.0
        self._former: dict[str, int] = {}
        self._clock, self._ticks, self._text = ArrivalOffset(), Ticks(), ""
        self._unlocked = self._too_far = False
        self._pwm_per_m_s2 = 1.0

    @property
    def connected(self) -> bool:
        """Whether logs and parameters of the Crazyflie are known."""
        return self._connected

    # Called by the bridge.

    def send(self, setpoint: RateSetpoint) -> None:
        if not self._ours:
            return
        if self._options.full_state:
            self._send_motion(setpoint)
        elif (command := rates_and_thrust(setpoint)) is not None:
            self._cf.commander.send_setpoint(*command)

    def _send_motion(self, setpoint: RateSetpoint) -> None:
        motion = setpoint.motion
        command = None if motion is None else full_state(motion)
        self._too_far = command is None
        if command is not None:
            self._cf.commander.send_full_state_setpoint(*command)

    def ask(self, request: Request) -> None:
        if not self._connected:
            return
        if request is Request.ARM:
            self.arm(True)
        elif not (self._unlocked or self._options.full_state):
            self._listener.on_text("the thrust lock opens on the ground only: land, then take control", True)
        else:
            self._wanted = True
            for name, value in self._mode.items():
                self._cf.param.set_value(name, value)

    def arm(self, arm: bool) -> bool:
        """Ask the supervisor to arm or disarm; returns whether a Crazyflie is connected."""
        if self._connected:
            with warnings.catch_warnings():  # of firmware older than 2025, whose packet cflib sends instead
                warnings.simplefilter("ignore")
                self._cf.supervisor.send_arming_request(arm)
        return self._connected

    def release(self) -> None:
        """End of control: no setpoint any more; in flight the Crazyflie lands by itself."""
        had, self._ours, self._wanted = self._ours, False, False
        if not self._connected or not had:
            return
        self._cf.commander.send_notify_setpoint_stop()
        if self._options.lands and self._is_aloft():
            fall_m = max(self._height_m - self._options.floor_m, 0.0)
            self._cf.high_level_commander.land(
                self._options.floor_m, max(fall_m / LAND_M_S, SHORTEST_LANDING_S), yaw=None
            )
        for name, value in self._former.items():
            self._cf.param.set_value(name, value)

    def pose(self, position: Array, q: Array) -> None:
        """Send a pose of motion capture: position (3,) [m; world], quaternion wxyz (4,) [body→world]."""
        w, x, y, z = q.tolist()
        if self._connected and np.isfinite(position).all() and np.isfinite(q).all():
            self._cf.loc.send_extpose(position.tolist(), [x, y, z, w])

    def tick(self, alive: bool) -> None:
        """Connect, again if need be."""
        waited_s = monotonic() - self._tried_s
        if self._open and not self._connected and waited_s > CONNECT_S:
            self._drop(f"no answer in {CONNECT_S:g} s")
        if not self._open and waited_s > AGAIN_S:
            self._tried_s, self._open = monotonic(), True
            self._forget()
            self._cf.open_link(self._uri)

    def problems(self) -> list[str]:
        if not self._connected:
            return [f"no Crazyflie on {self._uri}: {self._trouble}"]
        found = [] if self._info is not None else ["the Crazyflie sends no logs"]
        if self._battery_v < LOW_BATTERY_V:
            found.append(f"battery {self._battery_v:.2f} V: land (low is {LOW_BATTERY_V} V)")
        if self._too_far:
            found.append(f"nothing is sent: a full state's position must be finite and within {MOST_FULL_STATE} m")
        return found

    def close(self) -> None:
        """End the link; in flight the Crazyflie lands by itself."""
        self._closed = True
        self.release()
        if self._connected:
            sleep(FLUSH_S)
        self._drop("closed")

    # The connection; callbacks come on cflib's threads.

    def _drop(self, why: str) -> None:
        """Close the link without the zero setpoint of cflib's own `close_link`, which would stop the motors."""
        driver, self._cf.link = self._cf.link, None
        if driver is not None:
            driver.close()
        self._cf.close_link()
        self._trouble, self._open = why, False
        self._forget()

    def _on_trouble(self, uri: str, why: str) -> None:
        self._trouble, self._open = shortened(" ".join(why.partition("\n\n")[0].split())), False
        was_connected = self._connected
        self._forget()
        if was_connected and not self._closed:
            self._listener.on_text(f"the link to the Crazyflie is lost: {self._trouble}", True)

    def _on_connected(self, uri: str) -> None:
        try:
            self._log("state", STATE_LOG, FAST_MS, self._on_state)
            self._log("inertial", INERTIAL_LOG, FAST_MS, self._on_inertial)
            self._log("status", STATUS_LOG, SLOW_MS, self._on_status)
            if self._options.full_state:
                mass_kg, pwm_per_n = (float(self._cf.param.get_value(name)) for name in FORCE_SCALE)
                self._pwm_per_m_s2 = max(mass_kg * pwm_per_n, 1.0)
            self._former = {name: int(self._cf.param.get_value(name)) for name in self._mode}
        except KeyError as error:
            self._trouble = f"its firmware lacks {error.args[0]}: update it to 2023.11 or later"
            self._listener.on_text(f"Crazyflie: {self._trouble}", True)
            return
        self._connected = True
        self._listener.on_text(f"Crazyflie connected on {self._uri}", False)

    def _log(
        self, name: str, variables: tuple[tuple[str, str], ...], period_ms: int, take: Callable[..., None]
    ) -> None:
        block = LogConfig(name, period_ms)
        for variable, kind in variables:
            if self._cf.log.toc.get_element_by_complete_name(variable) is None:
                raise KeyError(variable)
            block.add_variable(variable, kind)
        block.data_received_cb.add_callback(take)
        self._cf.log.add_config(block)
        block.start()

    # Logs, parameters and console of the Crazyflie.

    def _on_state(self, tick_ms: int, log: dict[str, float], block: Any) -> None:
        at_ns, state = self._ticks.ns(tick_ms), state_of(log)
        self._clock.arrived(at_ns, self._clock_ns())
        if state is not None and self._clock.known:
            self._height_m = float(state.q[2])
            self._listener.on_state(self._clock.ours_ns(at_ns), state)

    def _on_inertial(self, tick_ms: int, log: dict[str, float], block: Any) -> None:
        if self._clock.known:
            if isfinite(log["stabilizer.thrust"]):  # infinite above 65504
                self._listener.on_thrust(self._share(log["stabilizer.thrust"]))
            self._listener.on_inertial(self._clock.ours_ns(self._ticks.ns(tick_ms)), inertial_of(log))

    def _share(self, pwm: float) -> float:
        """Thrust in motor units, normalised as the setpoints are."""
        full_m_s2 = self._options.full_m_s2
        return normalised(pwm) if full_m_s2 is None else share_of(pwm, self._pwm_per_m_s2, full_m_s2)

    def _on_status(self, tick_ms: int, log: dict[str, float], block: Any) -> None:
        self._info, self._battery_v = Supervisor(int(log["supervisor.info"]) & 0xFF), float(log["pm.vbat"])
        if Supervisor.FLYING not in self._info:
            self._ground_m = self._height_m
            self._prepare()
        self._listener.on_flying(self._is_aloft())
        ours_is = "full states" if self._options.full_state else "rates"
        self._listener.on_vehicle(vehicle_of(self._info, self._ours, ours_is))

    def _is_aloft(self) -> bool:
        running = self._info is not None and Supervisor.FLYING in self._info
        return running and self._height_m > self._ground_m + ALOFT_M

    def _prepare(self) -> None:
        """Once, on the ground: release the thrust lock; let the estimator use the poses."""
        if self._unlocked:
            return
        self._unlocked = True
        if not self._options.full_state:
            self._cf.commander.send_setpoint(0.0, 0.0, 0.0, 0)
            self._cf.commander.send_notify_setpoint_stop()
        if self._options.external_pose:
            for name, value in ((ESTIMATOR, KALMAN), (RESET, 1), (RESET, 0)):
                self._cf.param.set_value(name, value)

    def _on_parameter(self, name: str, value: str) -> None:
        """Control is ours once the firmware has confirmed the mode."""
        if self._wanted and name in self._mode:
            self._ours = all(self._value(each) == str(wanted) for each, wanted in self._mode.items())

    def _value(self, name: str) -> str | None:
        """The last known value of a parameter."""
        group, _, own = name.partition(".")
        found: str | None = self._cf.param.values.get(group, {}).get(own)
        return found

    def _on_console(self, text: str) -> None:
        self._text += text
        while "\n" in self._text:
            line, _, self._text = self._text.partition("\n")
            if line.strip():
                self._listener.on_text(f"Crazyflie: {line.strip()}", False)
