# SPDX-License-Identifier: Apache-2.0
"""The simulated arm as a MuJoCo model: the robot's MJCF, a payload body, a cable, and the fields that a task sets.

Everything that a task changes is a model field that can be written while the simulation runs:

    payload          body_mass, body_ipos, body_iquat, body_inertia of the payload body
    links            body_mass, body_ipos, body_inertia of the robot's bodies, dof_armature
    friction         dof_frictionloss (Coulomb), dof_damping (viscous, added to the nominal)
    motor strength   actuator_gainprm: torque = strength * clamp(command)
    cable            a spatial tendon with MuJoCo's polynomial stiffness: T(e) = k1 e + k2 e |e| + k3 e^3,
                     e beyond a dead band

A swinging payload hangs from a ball joint and therefore needs a separate model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import mujoco
import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.errors import RobotError, one_line
from metarl_robot.core.robot import Robot
from metarl_robot.robots.payload import payload_site
from metarl_robot.sim.arm.model_errors import LinkErrors
from metarl_robot.sim.arm.obstacle import add_obstacle
from metarl_robot.sim.arm.task import Task
from metarl_robot.sim.euclidean_model import compiled, indices
from metarl_robot.sim.inertia import principal
from metarl_robot.sim.physics_time import PHYSICS_DT_S

Array = NDArray[np.float64]

_SWING_DAMPING_NM_S = 0.005
# MuJoCo's Coulomb friction is a soft constraint: with its defaults a Panda joint slips freely only above 0.1 rad/s.
# This makes a joint stop within one or two physics steps, and creep below 1e-4 rad/s while it sticks.
_FRICTION_SOLREF = (0.002, 1.0)
_FRICTION_SOLIMP = (0.99, 0.99, 0.001, 0.5, 2.0)
# Inertia and positions that share no frame with their body. Where they do, MuJoCo takes shortcuts that are fixed when
# the model is compiled.
_PLACEHOLDER = (0.01, 0.02, 0.03)
_PLACEHOLDER_INERTIA = (0.02, 0.03, 0.04, 0.001, 0.002, 0.003)


@dataclass(frozen=True)
class Layout:
    """A compiled model and the robot's indices in it.

    q, v, u: (n,) indices of the robot's joints in qpos, qvel and ctrl, in joint order. ball_q, ball_v: addresses of the
    ball joint of a swinging payload, or -1. nominal: as compiled. moved_by: (bodies,) index of the
    robot's joint that moves a body's link, or -1.
    """

    model: mujoco.MjModel
    q: NDArray[np.intp]
    v: NDArray[np.intp]
    u: NDArray[np.intp]
    payload_body: int
    payload_site: int
    cable_anchor: int
    cable_point: int
    ball_q: int
    ball_v: int
    nominal: Fields
    moved_by: NDArray[np.intp]

    def fields(self, task: Task) -> dict[str, Array]:
        """See metarl_robot.sim.euclidean_model.TaskModel."""
        return task_fields(self, task)._asdict()


class Fields(NamedTuple):
    """Values of the model fields that a task sets, whole arrays as in MjModel."""

    body_mass: Array
    body_ipos: Array
    body_iquat: Array
    body_inertia: Array
    dof_frictionloss: Array
    dof_damping: Array
    dof_armature: Array
    actuator_gainprm: Array
    site_pos: Array
    tendon_stiffness: Array
    tendon_stiffnesspoly: Array
    tendon_lengthspring: Array


def compile_model(
    robot: Robot, swing: bool = False, physics_dt_s: float = PHYSICS_DT_S, obstacle: bool = False
) -> Layout:
    """Compile the robot with a payload body (rigid, or on a ball joint), a slack cable and, if asked, an obstacle."""
    spec = robot.mj_spec()
    try:
        _add_payload_and_cable(spec, spec.site(payload_site(robot)), swing)
        if obstacle:
            add_obstacle(spec, spec.site(payload_site(robot)))
        model = compiled(spec, physics_dt_s)
    except Exception as error:
        said = f"MuJoCo cannot compile it with a payload and a cable: {one_line(error)}"
        raise RobotError(
            f"{robot.folder}: {said}; the names 'payload', 'cable', 'cable_anchor' and 'cable_point' are reserved"
        ) from error
    model.dof_solref[:], model.dof_solimp[:] = _FRICTION_SOLREF, _FRICTION_SOLIMP
    return _layout(robot, model, swing)


def _add_payload_and_cable(spec: mujoco.MjSpec, site: Any, swing: bool) -> None:
    payload = site.parent.add_body(name="payload", pos=site.pos, quat=site.quat)
    payload.explicitinertial = True
    payload.mass, payload.ipos, payload.fullinertia = 1.0, _PLACEHOLDER, _PLACEHOLDER_INERTIA
    if swing:
        payload.add_joint(name="payload", type=mujoco.mjtJoint.mjJNT_BALL, damping=[_SWING_DAMPING_NM_S, 0.0, 0.0])
    spec.worldbody.add_site(name="cable_anchor", pos=_PLACEHOLDER)
    point = site.parent.add_site(name="cable_point", pos=_PLACEHOLDER)
    cable = spec.add_tendon(name="cable")
    cable.wrap_site("cable_anchor")
    cable.wrap_site(point.name)


def _layout(robot: Robot, model: mujoco.MjModel, swing: bool) -> Layout:
    return Layout(
        model,
        *indices(robot, model),
        payload_body=model.body("payload").id,
        payload_site=model.site(payload_site(robot)).id,
        cable_anchor=model.site("cable_anchor").id,
        cable_point=model.site("cable_point").id,
        ball_q=int(model.joint("payload").qposadr[0]) if swing else -1,
        ball_v=int(model.joint("payload").dofadr[0]) if swing else -1,
        nominal=Fields(*(getattr(model, name).copy() for name in Fields._fields)),
        moved_by=_moved_by(robot, model),
    )


def _moved_by(robot: Robot, model: mujoco.MjModel) -> NDArray[np.intp]:
    """For each body the robot's joint that moves it; -1 for the world and the payload."""
    own = {int(model.joint(name).bodyid[0]): i for i, name in enumerate(robot.channel_names)}
    joints = np.array([own.get(int(weld), -1) for weld in model.body_weldid], dtype=np.intp)
    joints[model.body("payload").id] = -1
    return joints


def task_fields(layout: Layout, task: Task) -> Fields:
    """Return the values of the model's fields under `task`; call mj_setConst after writing them."""
    values = Fields(*(value.copy() for value in layout.nominal))
    if task.links is not None:
        _set_links(layout, task.links, values)
    quat, inertia = principal(task.payload.inertia_kg_m2)
    body = layout.payload_body
    values.body_mass[body], values.body_ipos[body], values.body_iquat[body], values.body_inertia[body] = (
        task.payload.mass_kg,
        task.payload.com_m,
        quat,
        inertia,
    )
    values.dof_frictionloss[layout.v] = task.coulomb_nm
    values.dof_damping[layout.v] += task.viscous_nm_s
    values.actuator_gainprm[layout.u, 0] = task.motor_strength
    _set_cable(layout, task, values)
    return values


def _set_links(layout: Layout, errors: LinkErrors, values: Fields) -> None:
    bodies = np.flatnonzero(layout.moved_by >= 0)
    joints = layout.moved_by[bodies]
    values.body_mass[bodies] *= errors.mass[joints]
    values.body_ipos[bodies] *= errors.centre[joints, None]
    values.body_inertia[bodies] *= errors.inertia[joints, None]
    values.dof_armature[layout.v] *= errors.armature


def _set_cable(layout: Layout, task: Task, values: Fields) -> None:
    cable = task.cable
    if cable is None:
        values.tendon_stiffness[0], values.tendon_stiffnesspoly[0] = 0.0, 0.0
        return
    tip = layout.model.body("payload")
    values.site_pos[layout.cable_anchor] = cable.anchor_m
    values.site_pos[layout.cable_point] = _in_link(tip, cable.point_m)
    values.tendon_stiffness[0] = cable.stiffness_n_m
    values.tendon_stiffnesspoly[0] = cable.stiffening_n_m2, 0.0
    values.tendon_lengthspring[0] = 0.0, cable.slack_m


def _in_link(payload_body: mujoco.MjModel, point: Array) -> Array:
    """Transform a point of the payload frame into the frame of the link that carries it."""
    turned = np.empty(3)
    mujoco.mju_rotVecQuat(turned, point, payload_body.quat)
    return payload_body.pos + turned


def hang(layout: Layout, data: mujoco.MjData) -> None:
    """Place a swinging payload at rest in the world, with its centre of mass straight below the payload site."""
    model = layout.model
    mujoco.mj_kinematics(model, data)
    mujoco.mj_comPos(model, data)
    link = model.body_parentid[layout.payload_body]
    frame = np.empty(4)
    mujoco.mju_mulQuat(frame, data.xquat[link], model.body_quat[layout.payload_body])
    down = np.empty(3)
    inverse = np.empty(4)
    mujoco.mju_negQuat(inverse, frame)
    gravity = np.array(model.opt.gravity)
    mujoco.mju_rotVecQuat(down, gravity / np.linalg.norm(gravity), inverse)
    data.qpos[layout.ball_q : layout.ball_q + 4] = _quaternion_between(model.body_ipos[layout.payload_body], down)
    jacobian = np.empty((3, model.nv))
    data.qvel[layout.ball_v : layout.ball_v + 3] = 0.0
    mujoco.mj_kinematics(model, data)
    mujoco.mj_comPos(model, data)
    mujoco.mj_jacBody(model, data, None, jacobian, layout.payload_body)
    spin = data.xmat[layout.payload_body].reshape(3, 3).T @ (jacobian @ data.qvel)
    data.qvel[layout.ball_v : layout.ball_v + 3] = -spin


def _quaternion_between(start: Array, end: Array) -> Array:
    """Shortest rotation from the direction of `start` to `end` (unit)."""
    start = start / np.linalg.norm(start)
    half = np.array([1.0 + start @ end, *np.cross(start, end)])
    if half[0] < 1e-9:  # opposite: turn about any perpendicular axis
        half = np.array([0.0, *np.cross(start, np.eye(3)[np.argmin(np.abs(start))])])
    return half / np.linalg.norm(half)
