# SPDX-License-Identifier: Apache-2.0
"""Compares a new robot.xml with its source: mass matrix and bias force at random states.

With the fixed joints at rest, the driven rows of the source's equation of motion are those of the new model:
τ_d = M_dd v̇_d + h_d(q, v_d). Friction loss and air drag are left out and not compared. Gravity compensation by motors
is not a passive force; both sides then bear the whole weight.
"""

from __future__ import annotations

from collections.abc import Sequence

import mujoco
import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.errors import RobotError
from metarl_robot.robots.arm.from_file.joint_limit import JointLimit
from metarl_robot.robots.arm.from_file.joints import Choice
from metarl_robot.robots.arm.from_file.source import Source

Array = NDArray[np.float64]

STATES = 20
BOUND = 1e-6
"""Largest difference allowed, relative to the largest entry."""


def check_agreement(source: Source, choice: Choice, made: mujoco.MjModel, joints: Sequence[JointLimit]) -> float:
    """Largest relative difference. Raises RobotError above BOUND, before anything is written."""
    old, new, gravity = source.model, mujoco.MjData(made), np.array(source.model.opt.gravity)
    rng, data, worst = np.random.default_rng(1), mujoco.MjData(source.model), 0.0
    flags, drag = int(old.opt.disableflags), (float(old.opt.density), float(old.opt.viscosity))
    old.opt.gravity[:], old.opt.density, old.opt.viscosity = made.opt.gravity, 0.0, 0.0
    try:
        for _ in range(STATES):
            q = np.array([rng.uniform(*joint.position) for joint in joints])
            v = rng.uniform(-1.0, 1.0, len(joints)) * [joint.velocity for joint in joints]
            worst = max(worst, _difference(source, choice, data, (made, new), (q, v)))
    finally:
        old.opt.gravity[:], old.opt.disableflags = gravity, flags
        old.opt.density, old.opt.viscosity = drag
    if not worst <= BOUND:
        said = f"its mass matrix or bias force differs from the new model's by {worst:.2g} of the largest entry"
        raise RobotError(f"{source.path}: {said}; the file has a feature that cannot be converted: please report it")
    return worst


def _difference(
    source: Source,
    choice: Choice,
    data: mujoco.MjData,
    made: tuple[mujoco.MjModel, mujoco.MjData],
    state: tuple[Array, Array],
) -> float:
    old, (new, new_data) = source.model, made
    data.qpos[:] = old.qpos0
    for joint, value in choice.locked.items():
        data.qpos[old.jnt_qposadr[joint]] = value
    dofs = [int(old.jnt_dofadr[joint]) for joint in choice.driven]
    data.qpos[[int(old.jnt_qposadr[joint]) for joint in choice.driven]] = new_data.qpos[:] = state[0]
    data.qvel[dofs] = new_data.qvel[:] = state[1]
    mass, force = _dynamics(old, data)
    mass_new, force_new = _dynamics(new, new_data)
    return max(_relative(mass[np.ix_(dofs, dofs)], mass_new), _relative(force[dofs], force_new))


def _dynamics(model: mujoco.MjModel, data: mujoco.MjData) -> tuple[Array, Array]:
    """Mass matrix (n, n), and bias less passive forces (n,)."""
    mujoco.mj_fwdPosition(model, data)
    mujoco.mj_fwdVelocity(model, data)
    mass = np.zeros((model.nv, model.nv))
    mujoco.mj_fullM(model, data, mass)
    return mass, data.qfrc_bias - data.qfrc_passive


def _relative(one: Array, other: Array) -> float:
    return float(np.abs(one - other).max() / max(np.abs(one).max(), 1e-6))
