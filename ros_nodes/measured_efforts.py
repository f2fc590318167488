# SPDX-License-Identifier: Apache-2.0
"""Efforts that a robot measures, as a part of its states."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.errors import MetaRLError, SignalError
from metarl_robot.core.robot import Robot
from metarl_robot.ros_nodes.interface import Interface

Array = NDArray[np.float64]

EFFORTS = 10.0
"""An effort further beyond its limits than this multiple of their span is refused: it has another unit."""


def listen_to_efforts(interface: Interface, robot: Robot, take: Callable[[Callable[[], Array]], None]) -> None:
    """Call `take` before each state with a function that reads its efforts (nu,). Raises MetaRLError."""
    if not hasattr(interface, "on_effort"):
        raise MetaRLError(f"efforts: the states of a robot of kind '{robot.kind}' hold none; allowed: commands")
    states: Any = interface
    states.on_effort = take


def checked_effort(robot: Robot, effort: Array) -> Array:
    """The effort (nu,). Raises SignalError if it has another size, is not finite or far beyond the limits."""
    if effort.shape != (robot.nu,):
        raise SignalError(f"{effort.size} numbers; must be {robot.nu}, one for each of {list(robot.channel_names)}")
    span = robot.effort_limit - robot.effort_lower
    least, most = robot.effort_lower - EFFORTS * span, robot.effort_limit + EFFORTS * span
    if not np.all((least <= effort) & (effort <= most)):
        raise SignalError(f"{effort.tolist()} is not finite or far beyond the limits: is it in another unit?")
    return effort
