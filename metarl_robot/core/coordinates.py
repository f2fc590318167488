# SPDX-License-Identifier: Apache-2.0
"""Names of a robot's coordinates in tables, recordings and figures."""

from __future__ import annotations

from typing import NamedTuple

from metarl_robot.core.robot import Robot

_AXES = "xyz"


class Coordinates(NamedTuple):
    """Names, with units, of q (nq,), v (dof,) and a command (nu,)."""

    q: tuple[str, ...]
    v: tuple[str, ...]
    effort: tuple[str, ...]


def coordinates(robot: Robot) -> Coordinates:
    """Names for a robot: its joints, or pose and velocity of its base and the thrusts of its actuators."""
    names = robot.channel_names
    if robot.base != "floating":
        return Coordinates(
            *(tuple(f"{name}/{what}" for name in names) for what in ("position_rad", "velocity_rad_s", "effort_nm"))
        )
    pose = (*(f"position_{axis}_m" for axis in _AXES), *(f"attitude_{part}" for part in "wxyz"))
    twist = (*(f"velocity_{axis}_m_s" for axis in _AXES), *(f"rate_{axis}_rad_s" for axis in _AXES))
    return Coordinates(pose, twist, tuple(f"{name}/thrust_n" for name in names))
