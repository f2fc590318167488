# SPDX-License-Identifier: Apache-2.0
"""The simulated quadrotor as a MuJoCo model: the robot's MJCF, a payload body, and the fields that a task sets.

The payload is rigid or on a sling. MuJoCo moves the rigid bodies and keeps them above the ground; the effect of rotors
and air is applied as a generalised force.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import mujoco
import numpy as np
from numpy.typing import NDArray

from metarl_robot.robots.payload import payload_site
from metarl_robot.robots.quadrotor.description import GRAVITY_M_S2, Quadrotor
from metarl_robot.sim.inertia import principal
from metarl_robot.sim.physics_time import PHYSICS_DT_S
from metarl_robot.sim.profiling import stop_profiling
from metarl_robot.sim.quadrotor.tasks import QuadrotorTask

Array = NDArray[np.float64]

PAYLOAD = "payload"
_SLING_DAMPING = 0.01  # of critical
_BOB_INERTIA = 1e-4  # of m L^2: a point mass has no inertia about the rod
# Inertia that shares no frame with its body. Where it does, MuJoCo takes shortcuts that are fixed when the model is
# compiled.
_PLACEHOLDER = (0.01, 0.02, 0.03)
_PLACEHOLDER_INERTIA = (0.02, 0.03, 0.04, 0.001, 0.002, 0.003)
_PLACEHOLDER_TURN = (0.8, 0.0, 0.0, 0.6)

stop_profiling()


class Fields(NamedTuple):
    """Values of the model fields that a task sets, whole arrays as in MjModel."""

    body_mass: Array
    body_ipos: Array
    body_iquat: Array
    body_inertia: Array
    dof_damping: Array


@lru_cache(maxsize=16)
def compile_model(
    robot: Quadrotor, sling: bool = False, physics_dt_s: float = PHYSICS_DT_S, altered: bool = False
) -> mujoco.MjModel:
    """Compile the robot with a payload body; the model is read-only. altered: tasks may change the robot's inertia.

    q and v of the robot come first, then those of the sling's ball joint.
    """
    spec = robot.mj_spec()
    spec.option.timestep = physics_dt_s
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    # divergence must be detected, not reset
    spec.option.disableflags |= int(mujoco.mjtDisableBit.mjDSBL_AUTORESET)
    if altered:
        own = spec.body(robot.base_frame)
        own.ipos, own.iquat = _PLACEHOLDER, _PLACEHOLDER_TURN
    site = spec.site(payload_site(robot))
    payload = site.parent.add_body(name=PAYLOAD, pos=site.pos)
    payload.explicitinertial = True
    payload.mass, payload.ipos, payload.fullinertia = 1.0, _PLACEHOLDER, _PLACEHOLDER_INERTIA
    if sling:
        payload.add_joint(name=PAYLOAD, type=mujoco.mjtJoint.mjJNT_BALL, damping=[1e-6, 0.0, 0.0])
    return spec.compile()


def task_fields(robot: Quadrotor, model: mujoco.MjModel, task: QuadrotorTask) -> Fields:
    """Return the values of the model's fields under `task`; call mj_setConst after writing them."""
    values = Fields(*(getattr(model, name).copy() for name in Fields._fields))
    if task.altered:
        own = model.body(robot.base_frame).id
        values.body_mass[own], values.body_ipos[own] = task.mass_scale * robot.mass_kg, task.com_m
        values.body_iquat[own], values.body_inertia[own] = (
            (1.0, 0.0, 0.0, 0.0),
            task.inertia_scale * robot.inertia.diagonal(),
        )
    body = model.body(PAYLOAD).id
    mass, com = task.payload.mass_kg, task.payload.com_m
    quat, inertia = principal(task.payload.inertia_kg_m2)
    if task.sling_m > 0.0:
        swinging = mass * task.sling_m**2
        com, quat, inertia = (
            np.array([0.0, 0.0, -task.sling_m]),
            np.array([1.0, 0.0, 0.0, 0.0]),
            np.full(3, _BOB_INERTIA * swinging),
        )
        values.dof_damping[6:] = 2.0 * _SLING_DAMPING * swinging * np.sqrt(GRAVITY_M_S2 / task.sling_m)
    values.body_mass[body], values.body_ipos[body], values.body_iquat[body], values.body_inertia[body] = (
        mass,
        com,
        quat,
        inertia,
    )
    return values


def hover_command(robot: Quadrotor, task: QuadrotorTask) -> Array:
    """Thrust commands (n,) [N] for a level hover in still air.

    A payload on a sling hangs straight below the payload site.
    """
    mass = task.payload.mass_kg
    lever = robot.payload_position + (0.0 if task.sling_m > 0.0 else 1.0) * task.payload.com_m
    own = task.mass_scale * robot.mass_kg
    moment = mass * lever + own * task.com_m
    needed = GRAVITY_M_S2 * np.array([own + mass, moment[1], -moment[0], 0.0])
    thrusts = robot.unlimited_thrusts(needed[None])[0] / np.maximum(task.thrust_gain(robot), 1e-3)
    return np.clip(thrusts, robot.effort_lower, robot.effort_limit)
