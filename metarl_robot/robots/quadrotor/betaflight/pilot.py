# SPDX-License-Identifier: Apache-2.0
"""The core of the bridge to Betaflight: arms when told, sends commands as RC channels, reads motors and status.

A command is sent as soon as it is given, with MSP_SET_RAW_RC. When commands stop, nothing is sent any more: the flight
controller's own failsafe acts after its `failsafe_delay`, as it does when a radio is lost. Commands that come again
before that fly on.

Arming takes, in this order: the ARM switch off and throttle low until no other reason prevents arming, then the ARM
switch on with throttle low, then commands. It is done only while `arm` is true. A disarming that was not asked for is
counted, and is not followed by another arming until `arm` was false.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from metarl_robot.robots.quadrotor.betaflight.msp_frames import Frame
from metarl_robot.robots.quadrotor.betaflight.msp_link import MspLink
from metarl_robot.robots.quadrotor.betaflight.settings import Settings, SettingsError, read_settings
from metarl_robot.robots.quadrotor.betaflight.sticks import Sticks, rc_payload
from metarl_robot.robots.quadrotor.betaflight.thrust import MotorCurve, outputs_of
from metarl_robot.robots.quadrotor.command import RateCommand
from metarl_robot.robots.quadrotor.description import Quadrotor

Array = NDArray[np.float64]

MOTOR, STATUS_EX, SET_RAW_RC = 104, 150, 200
STATUS_PERIOD_S = 0.05
_ARM_SWITCH = "ARM_SWITCH"
_NOT_ARMING = (
    "NO_GYRO", "FAILSAFE", "RXLOSS", "NOT_DISARMED", "BOXFAILSAFE", "RUNAWAY", "CRASH", "THROTTLE", "ANGLE",
    "BOOTGRACE", "NOPREARM", "LOAD", "CALIB", "CLI", "CMS", "BST", "MSP", "PARALYZE", "GPS", "RESCUE_SW",
    "DSHOT_TELEM", "REBOOT_REQD", "DSHOT_BBANG", "NO_ACC_CAL", "MOTOR_PROTO", "FLIP_SWITCH", "ALT_HOLD_SW",
    "POS_HOLD_SW", _ARM_SWITCH,
)  # fmt: skip
"""Betaflight's names of the bits of MSP_STATUS_EX that prevent arming (src/main/fc/runtime_config.c)."""


class Phase(Enum):
    """Of the bridge: DISARMED (told to be so), ARMING, FLYING, LOST (disarmed without being told)."""

    DISARMED = "disarmed"
    ARMING = "arming"
    FLYING = "flying"
    LOST = "disarmed by the flight controller"


@dataclass(frozen=True)
class FlightStatus:
    """As the flight controller reports it. not_arming: reasons that prevent arming, by Betaflight's names."""

    armed: bool = False
    not_arming: tuple[str, ...] = ("no status yet",)
    reported: int = 0


class Pilot:
    """Flies one quadrotor through one link; call `update` and `fly` in turn.

    Arguments:
        robot: gives the motors' thrust.
        link: to the flight controller, open.
        settings: default: read from the flight controller.

    Attributes:
        arm: whether to be armed; False at first.
        status: the last one. disarms: number of disarmings that were not asked for.
        thrusts: (4,) thrusts [N] of the last motor outputs that were read, in the robot's order; None before.

    Raises:
        LinkError, SettingsError: see read_settings; or the motors turn the other way than the robot's.
    """

    def __init__(self, robot: Quadrotor, link: MspLink, settings: Settings | None = None) -> None:
        self._link = link
        self.settings = read_settings(link) if settings is None else settings
        self._sticks = Sticks(self.settings)
        self._order = motor_order(robot, self.settings.props_out)
        self.curve = MotorCurve(robot, self.settings.idle)
        self.arm = False
        self.status = FlightStatus()
        self.thrusts: Array | None = None
        self.disarms = 0
        self._phase = Phase.DISARMED
        self._asked_s = -np.inf

    @property
    def phase(self) -> Phase:
        return self._phase

    def update(self, time_s: float) -> None:
        """Process the answers of the flight controller, and ask for its motors and, now and then, its status.

        Arguments:
            time_s: now, monotonic.

        Raises:
            LinkError: the link is lost.
        """
        for frame in self._link.received():
            self._process(frame)
        if time_s - self._asked_s >= STATUS_PERIOD_S:
            self._asked_s = time_s
            self._link.send(STATUS_EX)
        self._link.send(MOTOR)
        self._phase = self._next_phase()

    def fly(self, command: RateCommand) -> None:
        """Send a command; while the flight controller is not armed, what leads to that instead.

        Raises:
            LinkError: the link is lost.
        """
        if self._phase is Phase.FLYING:
            channels = self._sticks.flying(command.rates, self.curve.throttle(command.collective_n))
        else:
            ready = set(self.status.not_arming) <= {_ARM_SWITCH}
            channels = self._sticks.waiting(self._phase is Phase.ARMING and ready)
        self._link.send(SET_RAW_RC, rc_payload(channels))

    def _next_phase(self) -> Phase:
        if not self.arm:
            return Phase.DISARMED
        if self.status.armed:
            return Phase.FLYING
        return self._phase if self._phase in (Phase.ARMING, Phase.LOST) else Phase.ARMING

    def _process(self, frame: Frame) -> None:
        if frame.refused:
            return
        if frame.code == STATUS_EX:
            self._heard(frame.payload)
        elif frame.code == MOTOR:
            outputs = outputs_of(np.array(struct.unpack_from("<8H", frame.payload), dtype=np.float64))
            self.thrusts = self.curve.thrusts(outputs[self._order])

    def _heard(self, payload: bytes) -> None:
        armed = bool(struct.unpack_from("<I", payload, 6)[0] >> self.settings.arm_bit & 1)
        more = payload[15] & 0x0F
        flags = struct.unpack_from("<I", payload, 17 + more)[0]
        reasons = tuple(name for bit, name in enumerate(_NOT_ARMING) if flags >> bit & 1)
        if self.status.armed and not armed and self._phase is Phase.FLYING:
            self.disarms += 1
            self._phase = Phase.LOST
        self.status = replace(self.status, armed=armed, not_arming=reasons, reported=self.status.reported + 1)


def motor_order(robot: Quadrotor, props_out: bool) -> NDArray[np.intp]:
    """Index (4,) of Betaflight's motor for each rotor of a robot: rear right, front right, rear left, front left.

    Raises:
        SettingsError: the rotors are not those of a quad X, or turn the other way than the flight controller assumes.
    """
    front, left = robot.rotor_positions[:, 0] > 0.0, robot.rotor_positions[:, 1] > 0.0
    order = 2 * left + front
    if sorted(order.tolist()) != [0, 1, 2, 3]:
        raise SettingsError(f"{robot.name}: Betaflight's quad X has a rotor in each quarter, front/rear and left/right")
    counter_clockwise = (robot.spin > 0.0) != props_out
    if not np.array_equal(counter_clockwise, front != left):
        raise SettingsError(
            f"{robot.name}: its rotors turn the other way than Betaflight assumes: in the CLI, "
            f"`set yaw_motors_reversed = {'OFF' if props_out else 'ON'}`, then `save`"
        )
    return np.asarray(order, dtype=np.intp)
