# SPDX-License-Identifier: Apache-2.0
"""Checks with MuJoCo's own forces that an MJCF behaves like the nominal model, whatever features it uses.

At random states within the limits, a command must act as the same effort, passive forces must be linear damping,
linear springs and gravity compensation, and constraints must be without force. Contacts are checked only at home:
elsewhere a robot may touch itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import mujoco
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from metarl_robot.core.robot import Robot

Array = NDArray[np.float64]

_STATES = 5
_CLOSE = 1e-6

Fault = tuple[str, str, str]
"""Element, fault, and remedy."""


def behaviour_faults(robot: Robot, model: mujoco.MjModel) -> Iterator[Fault]:
    """Differences between MuJoCo's forces and the nominal model's. model: joints are the robot's channels, in order."""
    yield from _touching(robot, model)
    data, rng = mujoco.MjData(model), np.random.default_rng(0)
    lower, upper = _finite(robot.position_lower, -np.pi), _finite(robot.position_upper, np.pi)
    contact = int(mujoco.mjtDisableBit.mjDSBL_CONTACT)
    flags = int(model.opt.disableflags)
    model.opt.disableflags = flags | contact
    try:
        for _ in range(_STATES):
            data.qpos[:] = rng.uniform(lower, upper)
            data.qvel[:] = rng.uniform(-1.0, 1.0, robot.dof) * robot.velocity_limit
            command = rng.uniform(robot.effort_lower, robot.effort_limit)
            yield from _forces(robot, model, data, command)
    finally:
        model.opt.disableflags = flags


def _finite(values: Array, instead: float) -> Array:
    return np.where(np.isfinite(values), values, instead)


def _forces(robot: Robot, model: mujoco.MjModel, data: mujoco.MjData, command: Array) -> Iterator[Fault]:
    data.ctrl[:] = command[model.actuator_trnid[:, 0]]
    mujoco.mj_forward(model, data)
    damping, springs = np.ravel(model.dof_damping), model.jnt_stiffness * (data.qpos - model.qpos_spring)
    passive = data.qfrc_gravcomp * (1 - model.jnt_actgravcomp) - damping * data.qvel - springs
    for given, acts, what, remedy in (
        (command, data.qfrc_actuator, "a command of {:.4g} acts as an effort of {:.4g}", "use a plain <motor>"),
        (
            passive,
            data.qfrc_passive,
            "passive force should be {:.4g} and is {:.4g}",
            "leave linear springs and dampers",
        ),
        (np.zeros(robot.dof), data.qfrc_constraint, "constraint force should be {:.4g} and is {:.4g}", "remove it"),
    ):
        wrong = np.abs(given - acts) > _CLOSE * np.maximum(1.0, robot.effort_limit)
        if wrong.any():
            j = int(np.argmax(wrong))
            said = what.format(float(given[j]), float(acts[j]))
            yield f"joint '{robot.channel_names[j]}'", said, f"{remedy}, or convert the file with metarl robot new"


def _touching(robot: Robot, model: mujoco.MjModel) -> Iterator[Fault]:
    data = mujoco.MjData(model)
    data.qpos[:] = robot.home
    mujoco.mj_fwdPosition(model, data)
    for contact in data.contact[: data.ncon]:
        bodies = [model.body(int(model.geom_bodyid[geom])).name for geom in (contact.geom1, contact.geom2)]
        said = f"touches body '{bodies[1]}' at home, by {-1e3 * float(contact.dist):.2g} mm"
        yield f"body '{bodies[0]}'", said, "give geoms that only show contype='0' conaffinity='0', or change home"
