# SPDX-License-Identifier: Apache-2.0
"""Words for the parts of a robot in tables, figures and reports."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Wording:
    """Words for one robot; its kind states them (`Robot.wording`).

    body: the robot. tracked: the point at which the error is measured; error: name of the error in a figure. channel,
    effort, unit: of a command. angles: quantity of the angle errors; angle_names: one name for each.
    """

    body: str = "robot"
    tracked: str = "robot"
    error: str = "position"
    channel: str = "channel"
    effort: str = "effort"
    unit: str = ""
    angles: str = "angle"
    angle_names: tuple[str, ...] = ()
