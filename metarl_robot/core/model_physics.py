# SPDX-License-Identifier: Apache-2.0
"""Checks that the numbers of a compiled MuJoCo model are finite, and masses and inertias within bounds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from metarl_robot.core.errors import RobotError, shown

if TYPE_CHECKING:
    import mujoco

_RANGES = {
    "body_mass": (0.0, 1e4, "kg"),
    "body_inertia": (0.0, 1e5, "kg m²"),
    "body_pos": (-100.0, 100.0, "m"),
    "body_ipos": (-100.0, 100.0, "m"),
    "dof_armature": (0.0, 1e5, "kg m²"),
    "dof_damping": (0.0, 1e6, "Nm s"),
    "dof_frictionloss": (0.0, 1e5, "Nm"),
    "jnt_stiffness": (0.0, 1e6, "Nm/rad"),
    "body_gravcomp": (-10.0, 10.0, ""),
    "site_pos": (-100.0, 100.0, "m"),
    "actuator_gear": (-1e4, 1e4, ""),
}
_LARGEST_GRAVITY_M_S2 = 100.0


def check_physics(model: mujoco.MjModel, path: Path) -> None:
    """Raise RobotError for a value out of bounds; the message names file, field, value and allowed range."""
    for name, (lower, upper, unit) in _RANGES.items():
        values = np.asarray(getattr(model, name))
        wrong = values[~((values >= lower) & (values <= upper))]
        if wrong.size:
            raise RobotError(f"{path}: {name}: {shown(float(wrong.flat[0]))} {unit}; allowed: [{lower:g}, {upper:g}]")
    gravity = np.asarray(model.opt.gravity)
    if not np.all(np.abs(gravity) <= _LARGEST_GRAVITY_M_S2):
        raise RobotError(f"{path}: gravity: {gravity.tolist()} m/s²; allowed: up to {_LARGEST_GRAVITY_M_S2:g} each")
