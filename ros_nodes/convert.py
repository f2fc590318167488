# SPDX-License-Identifier: Apache-2.0
"""Conversions between ROS messages and stamps, tables and texts."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from math import isfinite

import numpy as np
from builtin_interfaces.msg import Duration, Time
from diagnostic_msgs.msg import DiagnosticStatus, KeyValue
from numpy.typing import NDArray
from std_msgs.msg import Float64MultiArray, MultiArrayDimension

from metarl_robot.core.errors import SignalError
from metarl_robot.core.signals import Context
from metarl_robot.core.tables import NANOSECONDS, Table
from metarl_robot.safety.refusals import Rejection, shortened

Array = NDArray[np.float64]

_FIRST_NS, _LAST_NS = -(2**31) * NANOSECONDS, 2**31 * NANOSECONDS - 1  # range of a message's stamp
_MOST_NAMES = 12  # names quoted in a text


class UnusableError(SignalError):
    """A message cannot be used. why: its reason in /diagnostics."""

    def __init__(self, why: Rejection, text: str) -> None:
        super().__init__(text)
        self.why = why


def nanoseconds(stamp: Time | Duration) -> int:
    """A stamp or duration in nanoseconds."""
    return int(stamp.sec) * NANOSECONDS + int(stamp.nanosec)


def time_message(stamp_ns: int) -> Time:
    """Nanoseconds as a stamp, clipped to the range of a message."""
    seconds, rest = divmod(min(max(stamp_ns, _FIRST_NS), _LAST_NS), NANOSECONDS)
    return Time(sec=seconds, nanosec=rest)


def duration_message(seconds: float) -> Duration:
    """Seconds as a duration. Raises SignalError."""
    whole, rest = divmod(stamp_of(seconds), NANOSECONDS)
    return Duration(sec=whole, nanosec=rest)


def stamp_of(seconds: float) -> int:
    """Seconds as nanoseconds, clipped to the range of a message. Raises SignalError."""
    if not isfinite(seconds):
        raise SignalError(f"a time is {seconds}; must be finite [s]")
    if abs(seconds) >= _LAST_NS / NANOSECONDS:
        return _LAST_NS if seconds > 0.0 else _FIRST_NS
    return round(seconds * NANOSECONDS)


def listed(names: Sequence[str]) -> str:
    """A short list of names for a message to the user."""
    quoted = ", ".join(f"'{shortened(str(name), 60)}'" for name in names[:_MOST_NAMES])
    return f"[{quoted}{f', … {len(names)} in all' if len(names) > _MOST_NAMES else ''}]"


def table_message(table: Table) -> Float64MultiArray:
    """A named table as a message; see metarl_robot.core.tables."""
    message = Float64MultiArray(data=doubles(table.values.ravel()))
    sizes = table.values.shape
    message.layout.dim = [
        MultiArrayDimension(label=table.labels[0], size=sizes[0], stride=sizes[0] * sizes[1]),
        MultiArrayDimension(label=table.labels[1], size=sizes[1], stride=sizes[1]),
    ]
    return message


def context_table(stamp_ns: int, context: Context) -> Table:
    """The adapter's estimate: rows mean and std, one column for each entry."""
    return Table(stamp_ns, ("mean", "std"), context.names, np.stack([context.mean, context.std]))


def status_message(name: str, level: bytes, text: str, values: Mapping[str, object]) -> DiagnosticStatus:
    """One entry of /diagnostics."""
    pairs = [KeyValue(key=key, value=_text(value)) for key, value in values.items()]
    return DiagnosticStatus(level=level, name=name, message=text, values=pairs)


def _text(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def doubles(values: Array) -> array[float]:
    """Values as a sequence of a message."""
    return array("d", np.ascontiguousarray(values, dtype=np.float64).tobytes())
