# SPDX-License-Identifier: Apache-2.0
"""Words for the parts of a kind of robot in tables, figures and reports."""

from __future__ import annotations

from dataclasses import dataclass

from metarl_robot.core.robot import Robot


@dataclass(frozen=True)
class Wording:
    """Words for one kind of robot.

    body: the robot. tracked: the point whose error is measured. site: where a payload is attached. channel, effort,
    unit: of a command. angles: quantity of the angle errors; angle_names: one name for each.
    """

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
    if robot.attitude is not None:
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
