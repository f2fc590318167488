# SPDX-License-Identifier: Apache-2.0
"""Figure of `metarl robot check`: the robot at home as it was read, and the error of the short motion.

A wrong axis, a joint at a wrong place or a wrong flange is seen at a glance; meshes would hide it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from metarl_robot.cli.figure import spare_colour
from metarl_robot.sim.robot_check import CONTROLLER, Check, Motion

_VIEWS = (("from the side", 0, 2), ("from above", 0, 1))
_AXIS_SHARE = 0.12
"""Length of a drawn axis, as a share of the arm's size."""


def check_figure(robot: str, check: Check, motion: Motion) -> Figure:
    """Two views of the robot at home with the path of its tracked point, and the tracking error."""
    figure = Figure(figsize=(11.0, 3.9), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    for axes, (title, across, up) in zip((left, middle), _VIEWS, strict=True):
        _view(axes, motion, check, across, up)
        axes.set_title(f"{Path(robot).name}, {title}")
    _error(right, motion, check)
    return figure


def _view(axes: Axes, motion: Motion, check: Check, across: int, up: int) -> None:
    """The robot at home, projected on two of the world's axes."""
    chain = np.vstack([motion.joints, motion.tip])
    reach = _AXIS_SHARE * float(np.ptp(chain, axis=0).max() or 1.0)
    axes.plot(motion.path[:, across], motion.path[:, up], color=spare_colour(1), linewidth=0.8, label="path")
    if motion.chain:
        axes.plot(chain[:, across], chain[:, up], color="#777777", linewidth=3.0, label="arm at home")
    for place in () if motion.chain else motion.joints:
        axes.plot(*np.stack([motion.tip, place])[:, [across, up]].T, color="#777777", linewidth=2.0)
    names = [row.name for row in check.rows]
    for place, axis, name in zip(motion.joints, motion.axes, names, strict=True):
        ends = np.stack([place - reach * axis, place + reach * axis])
        axes.plot(ends[:, across], ends[:, up], color=spare_colour(0), linewidth=1.2)
        axes.annotate(name, place[[across, up]], xytext=(4, 4), textcoords="offset points", fontsize=7)
    axes.plot(*motion.tip[[across, up]], "o", color=spare_colour(2), label="payload site")
    axes.set_aspect("equal", adjustable="datalim")
    axes.set_xlabel(f"{'xyz'[across]} [m]")
    axes.set_ylabel(f"{'xyz'[up]} [m]")
    axes.legend(fontsize=7, loc="best")


def _error(axes: Axes, motion: Motion, check: Check) -> None:
    axes.plot(motion.time_s, 1e3 * motion.error_m, color=spare_colour(2))
    axes.axhline(1e3 * check.bound_m, color="#555555", linestyle="--", linewidth=1.0)
    axes.set_title(f"error of {CONTROLLER}; dashed: allowed RMS")
    axes.set_xlabel("time [s]")
    axes.set_ylabel("error [mm]")
    axes.set_ylim(bottom=0.0)
