# SPDX-License-Identifier: Apache-2.0
"""The settings of a Betaflight flight controller on which commands depend, read by MSP; nothing is assumed.

Source: Betaflight 4.6, src/main/msp/msp.c (API 1.47; answers of API 1.43 and later are understood).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from metarl_robot.core.errors import MetaRLError
from metarl_robot.robots.quadrotor.betaflight.msp_link import MspLink

API_VERSION, FC_VARIANT, FC_VERSION = 1, 2, 3
MODE_RANGES, MIXER_CONFIG, RX_CONFIG, RX_MAP, FAILSAFE_CONFIG, ADVANCED_CONFIG = 34, 42, 44, 64, 75, 90
RC_TUNING, BOX_IDS, RC_DEADBAND = 111, 119, 125

ARM_BOX = 0
"""Permanent id of the mode ARM."""
_ACTUAL_RATES = 3
_QUAD_X = 3
_LEAST_API = (1, 43)
_MODE_START_US, _MODE_STEP_US = 900, 25
_AUX_CHANNELS, _MAPPED = 12, 8
_IDLE_VALUES_US = (1000, 1500, 2000)


class SettingsError(MetaRLError):
    """The flight controller's settings do not allow flight by this bridge; the message says which to change."""


class AxisRates(NamedTuple):
    """Actual rates of one axis: at the centre, at full stick and limit [deg/s]; expo in [0, 1]."""

    center: float
    full: float
    expo: float
    limit: float


class ModeRange(NamedTuple):
    """A mode (permanent id) is active while the AUX channel (from 0) is in [low_us, high_us)."""

    mode: int
    aux: int
    low_us: int
    high_us: int

    def holds(self, value_us: int) -> bool:
        return self.low_us <= value_us < self.high_us


@dataclass(frozen=True)
class Settings:
    """See the module's docstring.

    version: of the firmware, 'BTFL 4.6.0'. rates: of roll, pitch, yaw. center_us, min_check_us: of the sticks, and
    throttle below which it is low. channels: index of roll, pitch, yaw, throttle in a frame. arm: its mode range.
    disarmed_aux_us: values of the AUX channels for which no mode is active. idle: motor output at zero throttle, share
    of the range. props_out: whether motors turn the other way (yaw_motors_reversed). failsafe_delay_s: time without RC
    after which the flight controller acts. arm_bit: position of ARM in the mode flags of MSP_STATUS_EX.
    """

    version: str
    rates: tuple[AxisRates, AxisRates, AxisRates]
    center_us: int
    min_check_us: int
    channels: tuple[int, int, int, int]
    arm: ModeRange
    disarmed_aux_us: tuple[int, ...]
    idle: float
    props_out: bool
    failsafe_delay_s: float
    arm_bit: int

    @property
    def arm_us(self) -> int:
        """Value of the ARM channel that arms: the middle of its range."""
        return (self.arm.low_us + min(self.arm.high_us, 2100)) // 2


def read_settings(link: MspLink) -> Settings:
    """Read and check the settings.

    Raises:
        LinkError: no answer.
        SettingsError: not Betaflight, too old, or settings that cannot be inverted; the message says which to change.
    """
    version = _version(link)
    receiver = link.request(RX_CONFIG)
    _, center, min_check = struct.unpack_from("<HHH", receiver, 1)
    ranges = _mode_ranges(link.request(MODE_RANGES))
    arm = next((each for each in ranges if each.mode == ARM_BOX), None)
    if arm is None:
        raise SettingsError("no AUX channel arms: in the CLI, `aux 0 0 0 1700 2100 0 0` maps ARM to AUX1, then `save`")
    mapping = link.request(RX_MAP)
    channels = (mapping[0], mapping[1], mapping[2], mapping[3])
    mixer = link.request(MIXER_CONFIG)
    if mixer[0] != _QUAD_X:
        raise SettingsError(f"the mixer must be QUADX (3); it is {mixer[0]}: in the CLI, `mixer QUADX`, then `save`")
    deadband = link.request(RC_DEADBAND)
    if deadband[0] or deadband[1]:
        raise SettingsError(
            "sticks have a deadband: in the CLI, `set deadband = 0`, `set yaw_deadband = 0`, then `save`"
        )
    return Settings(
        version=version,
        rates=_rates(link.request(RC_TUNING)),
        center_us=center,
        min_check_us=min_check,
        channels=channels,
        arm=arm,
        disarmed_aux_us=_inactive(ranges),
        idle=struct.unpack_from("<H", link.request(ADVANCED_CONFIG), 6)[0] * 1e-4,
        props_out=bool(mixer[1]),
        failsafe_delay_s=link.request(FAILSAFE_CONFIG)[0] / 10.0,
        arm_bit=link.request(BOX_IDS).index(ARM_BOX),
    )


def _version(link: MspLink) -> str:
    variant = link.request(FC_VARIANT)[:4].decode("ascii", "replace")
    if variant != "BTFL":
        raise SettingsError(f"the flight controller runs '{variant}', not Betaflight ('BTFL')")
    api = link.request(API_VERSION)
    if (api[1], api[2]) < _LEAST_API:
        raise SettingsError(f"MSP API {api[1]}.{api[2]} is too old; Betaflight 4.2 (API 1.43) or later is needed")
    return variant + " " + ".".join(str(part) for part in link.request(FC_VERSION)[:3])


def _rates(tuning: bytes) -> tuple[AxisRates, AxisRates, AxisRates]:
    """Rates in MSP_RC_TUNING. Raises SettingsError: a curve that is not inverted here."""
    if tuning[22] != _ACTUAL_RATES:
        raise SettingsError("the rates must be of type ACTUAL: in the CLI, `set rates_type = ACTUAL`, then `save`")
    hover = tuning[23] if len(tuning) > 23 else tuning[6]
    if tuning[7] or tuning[6] != hover:
        raise SettingsError("the throttle curve must be straight: in the CLI, `set thr_expo = 0`, thr_hover = thr_mid")
    if tuning[14]:
        raise SettingsError("the throttle is limited: in the CLI, `set throttle_limit_type = OFF`, then `save`")
    limits = struct.unpack_from("<HHH", tuning, 16)
    center, expo = (tuning[0], tuning[12], tuning[11]), (tuning[1], tuning[13], tuning[10])
    roll, pitch, yaw = (
        AxisRates(10.0 * center[i], max(10.0 * tuning[2 + i], 10.0 * center[i]), expo[i] / 100.0, limits[i])
        for i in range(3)
    )
    return roll, pitch, yaw


def _mode_ranges(payload: bytes) -> list[ModeRange]:
    ranges = []
    for mode, aux, low, high in struct.iter_unpack("<BBBB", payload):
        if low < high:
            ranges.append(
                ModeRange(mode, aux, _MODE_START_US + _MODE_STEP_US * low, _MODE_START_US + _MODE_STEP_US * high)
            )
    return ranges


def _inactive(ranges: Sequence[ModeRange]) -> tuple[int, ...]:
    """A value for each AUX channel that activates no mode."""
    values = []
    for aux in range(_AUX_CHANNELS):
        on_it = [each for each in ranges if each.aux == aux]
        value = next((us for us in _IDLE_VALUES_US if not any(each.holds(us) for each in on_it)), None)
        if value is None:
            raise SettingsError(f"a mode is active for every value of AUX{aux + 1}: change its ranges (CLI `aux`)")
        values.append(value)
    return tuple(values)
