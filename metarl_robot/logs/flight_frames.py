# SPDX-License-Identifier: Apache-2.0
"""Which signals of a flight are in the axes of autopilots (NED, FRD) where ours (ENU, FLU) are expected.

Several at a time may be: a ULog whose pose an external estimator gave in ENU, a map that turns the pose but not the
IMU. Each reading (position, velocity, attitude, body rates and specific force, each turned or not) is tested against
the three identities of flight_check.py at once. Without an accelerometer, the thrust over the mass stands for the
specific force, in flight. The reading with the fewest signals turned is taken, of those that fit about as well as the
best, if it fits far better than the recording as it is.

A ULog is turned from PX4's axes when it is read. There, a signal that has to be turned back was ENU or FLU in the log.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import combinations
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core import rotation
from metarl_robot.logs.aerial_frames import enu, flu, flu_to_enu
from metarl_robot.logs.flight_windows import FRD_TO_NED, GRAVITY, Windows

Array = NDArray[np.float64]

FITS = np.array([0.3, 0.3, 2.0])
"""A reading fits whose root mean square errors are smaller [m/s, rad/s, m/s²]."""
THRUST_FITS_M_S2 = 3.0
"""The last of them with the thrust in place of the specific force: the mass is nominal, and there is drag."""
BETTER, ALIKE = 9.0, 1.5
"""Sum of squared errors, each over a third of what fits (or 1): of the recording over that of the reading; of a reading
over that of the best one."""
AIRBORNE_M_S2 = 0.5 * 9.81


class _Axes(NamedTuple):
    """A signal in words, and its axes in autopilots and in ours."""

    words: str
    autopilot: str
    ours: str


_AXES: Mapping[str, _Axes] = MappingProxyType(
    {
        "position": _Axes("positions", "ned", "enu"),
        "velocity": _Axes("velocities", "ned", "enu"),
        "attitude": _Axes("attitudes", "frd_to_ned", "flu_to_enu"),
        "rates": _Axes("body rates", "frd", "flu"),
        "specific_force": _Axes("specific forces", "frd", "flu"),
    }
)


def turned_signals(windows: Windows, thrust: Array) -> tuple[str, ...]:
    """Signals, by the keys of a map, that are in the axes of autopilots; empty: none, or no reading fits far better.

    thrust: (W,) of the whole robot over its mass, means over the windows [m/s²].
    """
    signals = tuple(_AXES) if windows.force is not None else tuple(_AXES)[:-1]
    fits = FITS if windows.force is not None else np.array([*FITS[:2], THRUST_FITS_M_S2])
    readings = [each for count in range(len(signals) + 1) for each in combinations(signals, count)]
    errors = np.array([_errors(windows, thrust, frozenset(each)) for each in readings])
    costs = (np.maximum(3.0 * errors / fits, 1.0) ** 2).sum(axis=1)
    chosen = int(np.flatnonzero(costs < ALIKE * costs.min())[0])  # the first has the fewest signals
    better = costs[0] > BETTER * costs[chosen] and bool(np.all(errors[chosen] < fits))
    return readings[chosen] if better else ()


def _errors(windows: Windows, thrust: Array, turned: frozenset[str]) -> Array:
    """Root mean square errors (3,) of the identities [m/s, rad/s, m/s²], with these signals turned."""

    def world(name: str, values: Array) -> Array:
        return enu(values) if name in turned else values

    def body(name: str, values: Array) -> Array:
        return flu(values) if name in turned else values

    by_frd = "attitude" in turned
    attitude = flu_to_enu(windows.attitude) if by_frd else windows.attitude
    needed = rotation.rotate_back(attitude, world("velocity", windows.pushed) + GRAVITY)
    if windows.force is None:
        flying = thrust > AIRBORNE_M_S2
        pushed = thrust[flying, None] * np.array([0.0, 0.0, 1.0]) - needed[flying]
    else:
        pushed = body("specific_force", windows.force) - needed
    missed = (
        world("position", windows.moved) - world("velocity", windows.velocity),
        windows.turned[FRD_TO_NED if by_frd else ""] - body("rates", windows.rate),
        pushed,
    )
    return np.array([np.sqrt(np.mean(np.sum(each**2, axis=1))) if len(each) else 0.0 for each in missed])


def in_words(signals: Iterable[str], of_ulog: bool) -> str:
    """What was found, with the words of a map that mend it."""
    chosen = {name: _AXES[name] for name in signals}
    *first, last = (axes.words for axes in chosen.values())
    listed = f"{', '.join(first)} and {last}" if first else last
    if of_ulog:
        keys = ", ".join(f"{name}: {axes.ours}" for name, axes in chosen.items())
        return f"{listed} are in ENU and FLU axes where PX4's are NED and FRD: say 'ulog: {{{keys}}}' in a map"
    keys = ", ".join(f"{name}: {{axes: {axes.autopilot}}}" for name, axes in chosen.items())
    return f"{listed} are in NED and FRD axes; they must be in ENU and FLU: say '{keys}' in a map"
