# SPDX-License-Identifier: Apache-2.0
"""Symbolic rigid-body dynamics of a kinematic tree, read from a compiled MJCF.

Recursive Newton-Euler in link coordinates with spatial vectors [angular; linear] (Featherstone, "Rigid Body Dynamics
Algorithms", 2008, table 5.1):

    v_i = X_i v_p + S_i q̇_i
    a_i = X_i a_p + S_i q̈_i + v_i × S_i q̇_i          a_0 = -g
    f_i = I_i a_i + v_i ×* I_i v_i,    τ_i = S_iᵀ f_i,    f_p += X_iᵀ f_i

to which joint armature (motor inertia behind the gear), viscous damping, linear joint springs and gravity compensation
(the share c_i of a body's weight that something else carries) are added, as MuJoCo does:

    τ += k (q - q_spring) + ∂/∂q Σ c_i m_i gᵀ p_i(q),    p_i: centre of mass of body i in the world

The same recursion gives kinetic energy T = ½ q̇ᵀ M q̇ and potential energy V, from which the momentum form follows:

    p = M(q) q̇,    ṗ = τ + β(q, q̇),    β = ∂T/∂q - ∂V/∂q - D q̇

A rigid body attached at a site enters through ten inertial parameters, in which the dynamics are linear:
π = (m, m c_x, m c_y, m c_z, I_xx, I_yy, I_zz, I_xy, I_xz, I_yz), inertia about the site's origin, site axes.
"""

from __future__ import annotations

from dataclasses import dataclass

import casadi as ca
import mujoco
import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.errors import RobotError

Array = NDArray[np.float64]

N_INERTIAL = 10


@dataclass(frozen=True)
class Kinematics:
    """World pose of one frame.

    position: (3,). rotation: (3, 3) frame→world. jacobian: (6, n) geometric [linear; angular].
    """

    position: ca.SX
    rotation: ca.SX
    jacobian: ca.SX


class RigidBodyTree:
    """Symbolic dynamics of an MJCF with hinge and slide joints.

    Every method takes and returns CasADi SX expressions: q, v, a (n,); attached (10,) at `attached_site`.
    """

    def __init__(self, model: mujoco.MjModel, attached_site: str) -> None:
        if model.nq != model.nv:
            raise RobotError(
                f"rigid-body tree: needs hinges and slides only; the model has nq={model.nq}, nv={model.nv}"
            )
        self._model = model
        self._site = model.site(attached_site).id
        self.dof = int(model.nv)
        self.armature: Array = np.array(model.dof_armature)
        self.damping: Array = np.array(model.dof_damping).reshape(self.dof)

    def inverse_dynamics(self, q: ca.SX, v: ca.SX, a: ca.SX, attached: ca.SX) -> ca.SX:
        """Joint efforts (n,) that produce accelerations a: M a + h, attached body included."""
        rigid = self._newton_euler(q, v, a, self._link_inertias(), attached)
        return rigid + ca.DM(self.armature) * a + ca.DM(self.damping) * v + self._static(q)

    def _static(self, q: ca.SX) -> ca.SX:
        """Efforts (n,) that hold springs, less those that gravity compensation saves."""
        model, effort = self._model, ca.SX.zeros(self.dof)
        if np.any(model.jnt_stiffness):
            effort += ca.DM(model.jnt_stiffness) * (q - ca.DM(model.qpos_spring))
        carried = np.flatnonzero(model.body_gravcomp * model.body_mass)
        if len(carried):
            rotations, positions = self._world_poses(q)
            work = ca.SX(0.0)
            for body in carried:
                centre = positions[body] + rotations[body] @ ca.DM(model.body_ipos[body])
                force = model.body_gravcomp[body] * model.body_mass[body] * model.opt.gravity
                work += ca.dot(ca.DM(force), centre)
            effort += ca.gradient(work, q)
        return effort

    def attached_effort(self, q: ca.SX, v: ca.SX, a: ca.SX, attached: ca.SX) -> ca.SX:
        """Contribution (n,) of the attached body to the inverse dynamics, linear in `attached`."""
        return self._newton_euler(q, v, a, {}, attached)

    def momentum(self, q: ca.SX, v: ca.SX, attached: ca.SX) -> tuple[ca.SX, ca.SX, ca.SX]:
        """Mass matrix M (n, n), generalised momentum p = M v (n,) and β (n,), attached body included.

        The attached body enters only through the motion of its site.
        """
        still, a, nothing = ca.SX.zeros(self.dof), ca.SX.sym("a", self.dof), ca.SX.zeros(N_INERTIAL)
        weight = self.inverse_dynamics(q, still, still, nothing)
        mass = ca.jacobian(self.inverse_dynamics(q, still, a, nothing), a)
        momentum = mass @ v
        beta = ca.gradient(0.5 * ca.dot(v, momentum), q) - weight - ca.DM(self.damping) * v
        velocity, held_up = self._site_motion(q, v)
        by_v, by_q, inertia = ca.jacobian(velocity, v), ca.jacobian(velocity, q), _spatial_inertia(attached)
        share = inertia @ velocity
        return (
            mass + by_v.T @ inertia @ by_v,
            momentum + by_v.T @ share,
            beta + by_q.T @ share - by_v.T @ (inertia @ held_up),
        )

    def site_kinematics(self, q: ca.SX) -> Kinematics:
        """Pose and Jacobian of the attached body's site."""
        rotations, positions = self._world_poses(q)
        model, body = self._model, int(self._model.site_bodyid[self._site])
        position = positions[body] + rotations[body] @ ca.DM(model.site_pos[self._site])
        rotation = rotations[body] @ ca.DM(_rotation(model.site_quat[self._site]))
        linear, angular = ca.jacobian(position, q), ca.SX.zeros(3, self.dof)
        while body > 0:
            for joint in self._joints(body):
                if model.jnt_type[joint] == mujoco.mjtJoint.mjJNT_HINGE:
                    angular[:, int(model.jnt_dofadr[joint])] = rotations[body] @ ca.DM(model.jnt_axis[joint])
            body = int(model.body_parentid[body])
        return Kinematics(position, rotation, ca.vertcat(linear, angular))

    def _joints(self, body: int) -> range:
        first = int(self._model.body_jntadr[body])
        count = int(self._model.body_jntnum[body])
        if count > 1:
            raise RobotError(
                f"rigid-body tree: body '{self._model.body(body).name}' has {count} joints; give each joint its own "
                "body"
            )
        return range(first, first + count)

    def _link_inertias(self) -> dict[int, ca.SX]:
        model = self._model
        inert = (model.body_mass > 0.0) | model.body_inertia.any(axis=1)
        return {body: _spatial_inertia_of_link(model, body) for body in range(1, model.nbody) if inert[body]}

    def _parent_transform(self, body: int, q: ca.SX) -> tuple[ca.SX, ca.SX]:
        """Rotation child→parent and position of the child's origin in the parent frame."""
        model = self._model
        rotation = ca.SX(ca.DM(_rotation(model.body_quat[body])))
        position = ca.SX(ca.DM(model.body_pos[body]))
        for joint in self._joints(body):
            axis, anchor = ca.DM(model.jnt_axis[joint]), ca.DM(model.jnt_pos[joint])
            angle = q[int(model.jnt_dofadr[joint])] - float(model.qpos0[model.jnt_qposadr[joint]])
            if model.jnt_type[joint] == mujoco.mjtJoint.mjJNT_HINGE:
                turned = rotation @ _axis_rotation(axis, angle)
                position = position + rotation @ anchor - turned @ anchor
                rotation = turned
            else:
                position = position + rotation @ (axis * angle)
        return rotation, position

    def _world_poses(self, q: ca.SX) -> tuple[list[ca.SX], list[ca.SX]]:
        rotations, positions = [ca.SX.eye(3)], [ca.SX.zeros(3)]
        for body in range(1, self._model.nbody):
            parent = int(self._model.body_parentid[body])
            rotation, position = self._parent_transform(body, q)
            rotations.append(rotations[parent] @ rotation)
            positions.append(positions[parent] + rotations[parent] @ position)
        return rotations, positions

    def _newton_euler(self, q: ca.SX, v: ca.SX, a: ca.SX, inertias: dict[int, ca.SX], attached: ca.SX) -> ca.SX:
        model = self._model
        inertias = dict(inertias)
        holder = int(model.site_bodyid[self._site])
        inertias[holder] = inertias.get(holder, ca.SX.zeros(6, 6)) + self._attached_inertia(attached)
        velocity = {0: ca.SX.zeros(6)}
        acceleration = {0: ca.SX(ca.DM(np.concatenate([np.zeros(3), -model.opt.gravity])))}
        force: dict[int, ca.SX] = {0: ca.SX.zeros(6)}
        transforms: dict[int, ca.SX] = {}
        for body in range(1, model.nbody):
            parent = int(model.body_parentid[body])
            transforms[body] = _motion_transform(*self._parent_transform(body, q))
            velocity[body] = transforms[body] @ velocity[parent]
            acceleration[body] = transforms[body] @ acceleration[parent]
            for joint in self._joints(body):
                dof, axis = int(model.jnt_dofadr[joint]), self._motion_axis(joint)
                velocity[body] = velocity[body] + axis * v[dof]
                acceleration[body] = acceleration[body] + axis * a[dof] + _cross_motion(velocity[body], axis) * v[dof]
            inertia = inertias.get(body, ca.SX.zeros(6, 6))
            force[body] = inertia @ acceleration[body] + _cross_force(velocity[body], inertia @ velocity[body])
        effort = ca.SX.zeros(self.dof)
        for body in range(model.nbody - 1, 0, -1):
            for joint in self._joints(body):
                effort[int(model.jnt_dofadr[joint])] = ca.dot(self._motion_axis(joint), force[body])
            parent = int(model.body_parentid[body])
            force[parent] = force[parent] + transforms[body].T @ force[body]
        return effort

    def _site_motion(self, q: ca.SX, v: ca.SX) -> tuple[ca.SX, ca.SX]:
        """Spatial velocity (6,) of the site, and the acceleration (6,) that holds it against gravity.

        Both in site axes.
        """
        body, bodies = int(self._model.site_bodyid[self._site]), []
        while body > 0:
            bodies.append(body)
            body = int(self._model.body_parentid[body])
        velocity, held_up = ca.SX.zeros(6), ca.SX(ca.DM(np.concatenate([np.zeros(3), -self._model.opt.gravity])))
        for body in reversed(bodies):
            transform = _motion_transform(*self._parent_transform(body, q))
            velocity, held_up = transform @ velocity, transform @ held_up
            for joint in self._joints(body):
                velocity = velocity + self._motion_axis(joint) * v[int(self._model.jnt_dofadr[joint])]
        to_site = self._to_site()
        return to_site @ velocity, to_site @ held_up

    def _to_site(self) -> ca.SX:
        """Transform of motion vectors from the body that holds the site to the site."""
        rotation = ca.SX(ca.DM(_rotation(self._model.site_quat[self._site])))
        return _motion_transform(rotation, ca.SX(ca.DM(self._model.site_pos[self._site])))

    def _motion_axis(self, joint: int) -> ca.DM:
        axis, anchor = self._model.jnt_axis[joint], self._model.jnt_pos[joint]
        if self._model.jnt_type[joint] == mujoco.mjtJoint.mjJNT_HINGE:
            return ca.DM(np.concatenate([axis, -np.cross(axis, anchor)]))
        return ca.DM(np.concatenate([np.zeros(3), axis]))

    def _attached_inertia(self, attached: ca.SX) -> ca.SX:
        """Spatial inertia of the attached body in the frame of the body that holds its site."""
        to_site = self._to_site()
        return to_site.T @ _spatial_inertia(attached) @ to_site


def _spatial_inertia(attached: ca.SX) -> ca.SX:
    """Spatial inertia (6, 6) of a body with inertial parameters (10,), at its site."""
    mass, moment = attached[0], attached[1:4]
    xx, yy, zz, xy, xz, yz = ca.vertsplit(attached[4:10])
    about_site = ca.vertcat(ca.horzcat(xx, xy, xz), ca.horzcat(xy, yy, yz), ca.horzcat(xz, yz, zz))
    coupling = ca.skew(moment)
    return ca.vertcat(ca.horzcat(about_site, coupling), ca.horzcat(coupling.T, mass * ca.SX.eye(3)))


def _spatial_inertia_of_link(model: mujoco.MjModel, body: int) -> ca.SX:
    mass, com = float(model.body_mass[body]), np.array(model.body_ipos[body])
    principal = _rotation(model.body_iquat[body])
    skew = _skew(com)
    about_origin = principal @ np.diag(model.body_inertia[body]) @ principal.T + mass * skew @ skew.T
    inertia = np.block([[about_origin, mass * skew], [mass * skew.T, mass * np.eye(3)]])
    return ca.SX(ca.DM(inertia))


def _rotation(quat_wxyz: Array) -> Array:
    matrix = np.zeros(9)
    mujoco.mju_quat2Mat(matrix, np.asarray(quat_wxyz, dtype=float))
    rotation = matrix.reshape(3, 3)
    return np.where(np.abs(rotation) < 1e-15, 0.0, rotation)


def _skew(vector: Array) -> Array:
    x, y, z = vector
    return np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])


def _axis_rotation(axis: ca.DM, angle: ca.SX) -> ca.SX:
    """Rotation by an angle about an axis (Rodrigues' formula)."""
    k = ca.skew(axis)
    return ca.SX.eye(3) + ca.sin(angle) * k + (1 - ca.cos(angle)) * (k @ k)


def _motion_transform(rotation: ca.SX, position: ca.SX) -> ca.SX:
    """Transform of motion vectors parent→child.

    The child is at `position`; the columns of `rotation` (child→parent) are its axes.
    """
    e = rotation.T
    return ca.vertcat(ca.horzcat(e, ca.SX(3, 3)), ca.horzcat(-e @ ca.skew(position), e))


def _cross_motion(velocity: ca.SX, motion: ca.DM) -> ca.SX:
    w, u = velocity[:3], velocity[3:]
    return ca.vertcat(ca.cross(w, motion[:3]), ca.cross(w, motion[3:]) + ca.cross(u, motion[:3]))


def _cross_force(velocity: ca.SX, force: ca.SX) -> ca.SX:
    w, u = velocity[:3], velocity[3:]
    return ca.vertcat(ca.cross(w, force[:3]) + ca.cross(u, force[3:]), ca.cross(w, force[3:]))
