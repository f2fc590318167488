# SPDX-License-Identifier: Apache-2.0
"""What tables, figures and reports call the parts of a kind of robot."""

from __future__ import annotations

from dataclasses import dataclass

from metarl_robot.core.robot import Robot


@dataclass(frozen=True)
class Wording:
    """body: the robot; tracked: what the tracking error is measured at; site: where a payload is; channel, effort,
    unit: what a command
    is; angles: whose error is an angle, angle_names: each of them."""

    body: str
    tracked: str
    site: str
    channel: str
    effort: str
    unit: str
    angles: str
    angle_names: tuple[str, ...]


def wording(robot: Robot) -> Wording:
    """The words for a robot."""
    if robot.floating:
        body = robot.kind
        return Wording(
            body,
            body,
            "payload hook",
            "rotor",
            "thrust",
            "N",
            "attitude",
            ("about body x", "about body y", "about body z"),
        )
    return Wording("arm", "end effector", "flange", "joint", "effort", "Nm", "joint", robot.channel_names)
