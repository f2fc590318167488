# SPDX-License-Identifier: Apache-2.0
"""Writes a robot.xml: the compiled source as a plain tree, with held joints welded and one motor for each driven joint.

The file uses no default classes and no includes; every number is written out. Bodies, masses, inertias, gravity
compensation, armature, linear damping and springs are those of the source. Geoms are for pictures only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from xml.sax.saxutils import quoteattr

import mujoco
import numpy as np
from numpy.typing import NDArray

from metarl_robot.robots.arm.from_file.joint_limit import JointLimit
from metarl_robot.robots.arm.from_file.joints import Choice
from metarl_robot.robots.arm.from_file.pictures import Pictures

Array = NDArray[np.float64]

_LIGHTEST = (1e-10, 1e-12)
"""Mass [kg] and inertia [kg m²] of the body between two joints of one link; MuJoCo refuses a moving body without."""


class Pose(NamedTuple):
    """position: (3,) [m]. quat: (4,) w, x, y, z; child→parent."""

    position: Array
    quat: Array

    def then(self, other: Pose) -> Pose:
        """The pose of a frame that has the pose `other` in this one."""
        turned, quat = np.empty(3), np.empty(4)
        mujoco.mju_rotVecQuat(turned, other.position, self.quat)
        mujoco.mju_mulQuat(quat, self.quat, other.quat)
        return Pose(self.position + turned, quat)

    @property
    def is_identity(self) -> bool:
        """Whether this is no displacement at all."""
        return not np.any(self.position) and bool(self.quat[0] == 1.0)


IDENTITY = Pose(np.zeros(3), np.array([1.0, 0.0, 0.0, 0.0]))


@dataclass(frozen=True)
class Tool:
    """The payload's frame: a pose in a body of the source. name: of its site."""

    name: str
    body: int
    pose: Pose


@dataclass
class ModelFile:
    """A robot.xml in the making.

    joints: limits of the driven joints by id. gravity: (3,) [m/s²; base frame]. keeps_gravcomp: whether something else
    than the motors carries weight.
    """

    name: str
    model: mujoco.MjModel
    choice: Choice
    joints: Mapping[int, JointLimit]
    tool: Tool
    gravity: Sequence[float]
    pictures: Pictures
    keeps_gravcomp: bool = True
    _lines: list[str] = field(default_factory=list)

    def text(self) -> str:
        """The file's text."""
        gravity = _row(self.gravity)
        self._lines = [
            f"<mujoco model={quoteattr(self.name)}>",
            '  <compiler angle="radian" autolimits="true" meshdir="meshes"/>',
            f'  <option integrator="implicitfast" timestep="0.001" gravity="{gravity}"/>',
            *self._assets(),
            "  <worldbody>",
            '    <light pos="0 0 3" dir="0 0 -1"/>',
        ]
        self._inside(0, 2)
        self._lines += ["  </worldbody>", "  <actuator>"]
        for limit in self.joints.values():
            effort, name = f"{-limit.effort:.10g} {limit.effort:.10g}", quoteattr(limit.name)
            self._lines.append(f'    <motor name={name} joint={name} ctrlrange="{effort}"/>')
        self._lines += ["  </actuator>", "</mujoco>", ""]
        return "\n".join(self._lines)

    def _assets(self) -> Iterator[str]:
        if not self.pictures.meshes:
            return
        yield "  <asset>"
        for name in self.pictures.meshes:
            yield f'    <mesh name="{name}" file="{name}.stl" inertia="shell"/>'
        yield "  </asset>"

    def _body(self, body: int, depth: int) -> None:
        """Write a body: a chain of as many as it has driven joints."""
        model = self.model
        first, count = int(model.body_jntadr[body]), int(model.body_jntnum[body])
        pose = Pose(model.body_pos[body].copy(), model.body_quat[body].copy())
        opened, name = 0, model.body(body).name
        for joint in range(first, first + count):
            if joint in self.choice.locked:
                pose = pose.then(self._displacement(joint, self.choice.locked[joint]))
                continue
            if opened:
                self._write(depth + opened, _inertial(*_LIGHTEST))
            self._open(depth + opened, name if not opened else f"{name}.{opened + 1}", pose, body)
            opened += 1
            self._write(depth + opened, self._joint(joint))
            pose = IDENTITY
        if not opened or not pose.is_identity:
            if opened:
                self._write(depth + opened, _inertial(*_LIGHTEST))
            self._open(depth + opened, name if not opened else f"{name}.{opened + 1}", pose, body)
            opened += 1
        self._own_inertia(body, depth + opened)
        self._inside(body, depth + opened)
        for level in reversed(range(opened)):
            self._write(depth + level, "</body>")

    def _open(self, depth: int, name: str, pose: Pose, body: int) -> None:
        carried = float(self.model.body_gravcomp[body]) if self.keeps_gravcomp else 0.0
        extra = f' gravcomp="{carried!r}"' if carried else ""
        self._write(depth, f"<body name={quoteattr(_body_name(name))}{_placed(pose)}{extra}>")

    def _own_inertia(self, body: int, depth: int) -> None:
        model = self.model
        if model.body_mass[body] > 0.0 or model.body_inertia[body].any():
            pose = Pose(model.body_ipos[body], model.body_iquat[body])
            inertia = f'diaginertia="{_row(model.body_inertia[body])}"'
            position = f'pos="{_row(pose.position)}" quat="{_row(pose.quat)}"'
            self._write(depth, f'<inertial mass="{float(model.body_mass[body])!r}" {position} {inertia}/>')

    def _inside(self, body: int, depth: int) -> None:
        """Geoms, the tool's site, and the bodies below."""
        for line in self.pictures.geoms(body):
            self._write(depth, line)
        if body == self.tool.body:
            self._write(depth, f"<site name={quoteattr(self.tool.name)}{_placed(self.tool.pose)}/>")
        for child in range(1, self.model.nbody):
            if int(self.model.body_parentid[child]) == body and child not in self.choice.left_out:
                self._body(child, depth)

    def _joint(self, joint: int) -> str:
        model, limit = self.model, self.joints[joint]
        address = int(model.jnt_qposadr[joint])
        said = {
            "name": limit.name,
            "type": "slide" if limit.is_slide else "hinge",
            "axis": _row(model.jnt_axis[joint]),
            "pos": _row(model.jnt_pos[joint]),
            "armature": repr(limit.armature),
            "damping": repr(limit.damping),
        }
        if limit.is_limited:
            said["range"] = f"{limit.position[0]:.10g} {limit.position[1]:.10g}"
        if model.qpos0[address]:
            said["ref"] = repr(float(model.qpos0[address]))
        if model.jnt_stiffness[joint]:
            said["stiffness"] = repr(float(model.jnt_stiffness[joint]))
            said["springref"] = repr(float(model.qpos_spring[address]))
        return "<joint " + " ".join(f"{key}={quoteattr(value)}" for key, value in said.items()) + "/>"

    def _displacement(self, joint: int, value: float) -> Pose:
        """Displacement of a body by a held joint."""
        model = self.model
        moved = value - float(model.qpos0[model.jnt_qposadr[joint]])
        axis, anchor = model.jnt_axis[joint], model.jnt_pos[joint]
        if int(model.jnt_type[joint]) == int(mujoco.mjtJoint.mjJNT_SLIDE):
            return Pose(axis * moved, IDENTITY.quat)
        quat, turned = np.empty(4), np.empty(3)
        mujoco.mju_axisAngle2Quat(quat, axis, moved)
        mujoco.mju_rotVecQuat(turned, anchor, quat)
        return Pose(anchor - turned, quat)

    def _write(self, depth: int, line: str) -> None:
        self._lines.append("  " * depth + line)


_RESERVED = ("payload", "world")


def _body_name(name: str) -> str:
    """A body's name; the simulation uses 'payload' itself."""
    return f"{name}_link" if name in _RESERVED else name


def _inertial(mass: float, inertia: float) -> str:
    return f'<inertial mass="{mass!r}" pos="0 0 0" diaginertia="{inertia!r} {inertia!r} {inertia!r}"/>'


def _placed(pose: Pose) -> str:
    return "" if pose.is_identity else f' pos="{_row(pose.position)}" quat="{_row(pose.quat)}"'


def _row(values: Sequence[float] | Array) -> str:
    return " ".join(repr(float(value)) for value in values)
