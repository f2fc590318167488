# SPDX-License-Identifier: Apache-2.0
"""RC channels that make Betaflight fly given body rates and throttle: its stick curves, inverted.

Actual rates (Betaflight 4.6, src/main/fc/rc.c, applyActualRates): with stick x in [-1, 1], centre c, full f, expo e

    rate(x) = c x + (f - c) (|x| (e x⁵ + (1 - e) x))

The curves increase with x. They are tabulated for each microsecond of the stick and inverted by interpolation.
Betaflight's axes for rates are those of the FLU body frame: roll right, pitch nose down, and yaw counter-clockwise
are positive. The yaw stick is reversed (updateRcCommands): below the centre turns counter-clockwise.
Throttle t in [0, 1] is the part of the channel's range above min_check.
"""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

from metarl_robot.robots.quadrotor.betaflight.settings import AxisRates, Settings

Array = NDArray[np.float64]

_HALF_US, _HIGHEST_US, _LOWEST_US = 500, 2000, 1000
_YAW = 2


def stick_rate(rates: AxisRates, stick: Array) -> Array:
    """Rates (N,) [deg/s] that Betaflight flies for stick positions (N,) in [-1, 1]."""
    expo = np.abs(stick) * (rates.expo * stick**5 + (1.0 - rates.expo) * stick)
    return np.asarray(np.clip(rates.center * stick + (rates.full - rates.center) * expo, -rates.limit, rates.limit))


class Sticks:
    """Converts rates and throttle into the channels of one flight controller."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._positions = np.linspace(-1.0, 1.0, 2 * _HALF_US + 1)
        self._tables = [np.deg2rad(stick_rate(rates, self._positions)) for rates in settings.rates]

    @property
    def largest_rates(self) -> Array:
        """Rates (3,) at full sticks [rad/s]; larger ones are clipped."""
        return np.array([table[-1] for table in self._tables])

    def flying(self, rates: Array, throttle: float) -> list[int]:
        """Channels of an armed flight controller.

        Arguments:
            rates: (3,) [rad/s; body FLU]. throttle: in [0, 1].
        """
        return self._channels(rates, self._throttle_us(throttle), armed=True)

    def waiting(self, armed: bool) -> list[int]:
        """Channels with centred sticks and low throttle, with the ARM switch on or off."""
        return self._channels(np.zeros(3), _LOWEST_US, armed)

    def _throttle_us(self, throttle: float) -> int:
        low = self._settings.min_check_us
        return round(low + (_HIGHEST_US - low) * min(max(throttle, 0.0), 1.0))

    def _channels(self, rates: Array, throttle_us: int, armed: bool) -> list[int]:
        settings = self._settings
        frame = [settings.center_us] * 4 + list(settings.disarmed_aux_us)
        for axis, table in enumerate(self._tables):
            stick = float(np.interp(rates[axis], table, self._positions))
            sign = -1.0 if axis == _YAW else 1.0
            frame[settings.channels[axis]] = round(settings.center_us + sign * _HALF_US * stick)
        frame[settings.channels[3]] = throttle_us
        if armed:
            frame[4 + settings.arm.aux] = settings.arm_us
        return frame


def rc_payload(channels: list[int]) -> bytes:
    """Payload of MSP_SET_RAW_RC for channels [us]."""
    return struct.pack(f"<{len(channels)}H", *channels)
