# SPDX-License-Identifier: Apache-2.0
"""A robot's MJCF as a URDF, for robot_state_publisher, RViz, Foxglove and MoveIt.

    MJCF                              URDF
    world                             root link, named by `base_frame`
    a body that is the base itself    root link, without its joints: its pose is published as odometry
    body, site                        link of the same name; sites are links without mass
    hinge with a range, without one   revolute, continuous
    slide                             prismatic
    several joints of one body        links without mass between them, `<body>_<joint>`
    inertia, damping, frictionloss    the same
    box, sphere, cylinder, mesh       the same; collision too where the geom collides
    capsule                           a cylinder and two spheres

A link's frame is at its joint's position, with the body's axes. Velocity and effort limits are those of robot.yaml.
A URDF holds no armature, spring, gravity compensation, ellipsoid, plane or height field: they are left out, so that
its mass matrix is the MJCF's less the armature.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core import rotation
from metarl_robot.core.robot import Robot

Array = NDArray[np.float64]
Element = ElementTree.Element

_SPHERE, _CAPSULE, _CYLINDER, _BOX, _MESH = 2, 3, 5, 6, 7  # mujoco.mjtGeom
_SLIDE = 2  # mujoco.mjtJoint
_UNIT = np.array([1.0, 0.0, 0.0, 0.0])
_UNLIMITED = 1e3  # rad/s, Nm: a joint without limits in robot.yaml


def urdf_of(robot: Robot) -> str:
    """The robot as a URDF document. Raises RobotError if its MJCF cannot be compiled."""
    return _Writer(robot).text()


class _Writer:
    """Walks through the compiled model, body by body."""

    def __init__(self, robot: Robot) -> None:
        self._robot, self._model = robot, robot.mj_model
        self._root = ElementTree.Element("robot", name=robot.name)
        self._origin = {0: np.zeros(3)}  # of a body's link, in the body's frame
        self._names = {0: robot.base_frame}
        self._files = {mesh.name: mesh.file for mesh in robot.mj_spec().meshes}
        self._folder = Path(robot.mj_spec().modelfiledir or robot.folder) / (robot.mj_spec().meshdir or "")

    def text(self) -> str:
        for body in range(self._model.nbody):
            self._body(body)
        for site in range(self._model.nsite):
            self._site(site)
        ElementTree.indent(self._root)
        return '<?xml version="1.0"?>\n' + ElementTree.tostring(self._root, encoding="unicode") + "\n"

    def _body(self, body: int) -> None:
        model = self._model
        name = model.body(body).name or f"body{body}"
        if body == 0:
            if not any(model.body(k).name == self._robot.base_frame for k in range(1, model.nbody)):
                self._link(0, self._robot.base_frame)
            return
        self._names[body], self._origin[body] = name, np.zeros(3)
        joints = range(model.body_jntadr[body], model.body_jntadr[body] + model.body_jntnum[body])
        if name == self._robot.base_frame:
            self._link(body, name)
            return
        parent = int(model.body_parentid[body])
        parent_link = self._names[parent]
        place, turn = model.body_pos[body] - self._origin[parent], model.body_quat[body]
        for joint in joints:
            last = joint == joints[-1]
            child = name if last else f"{name}_{model.joint(joint).name}"
            anchor = model.jnt_pos[joint].copy()
            self._joint(joint, parent_link, child, place + rotation.rotate(turn, anchor - self._origin[body]), turn)
            self._origin[body], parent_link, place, turn = anchor, child, np.zeros(3), _UNIT
            if not last:
                ElementTree.SubElement(self._root, "link", name=child)
        if not joints:
            self._fixed(f"{name}_fixed", parent_link, name, place, turn)
        self._link(body, name)

    def _site(self, site: int) -> None:
        model = self._model
        name, body = model.site(site).name, int(model.site_bodyid[site])
        taken = {link.get("name") for link in self._root.iter("link")}
        if name and name not in taken and (body != 0 or self._names[0] in taken):
            ElementTree.SubElement(self._root, "link", name=name)
            place = model.site_pos[site] - self._origin[body]
            self._fixed(f"{name}_fixed", self._names[body], name, place, model.site_quat[site])

    def _fixed(self, name: str, parent: str, child: str, place: Array, turn: Array) -> None:
        _between(ElementTree.SubElement(self._root, "joint", name=name, type="fixed"), parent, child, place, turn)

    def _joint(self, joint: int, parent: str, child: str, place: Array, turn: Array) -> None:
        model, robot, name = self._model, self._robot, self._model.joint(joint).name
        slides, limited = int(model.jnt_type[joint]) == _SLIDE, bool(model.jnt_limited[joint])
        kind = "prismatic" if slides else "revolute" if limited else "continuous"
        made = ElementTree.SubElement(self._root, "joint", name=name, type=kind)
        _between(made, parent, child, place, turn)
        ElementTree.SubElement(made, "axis", xyz=_text(model.jnt_axis[joint]))
        channel = robot.channel_names.index(name) if name in robot.channel_names else None
        limits = {
            "effort": _UNLIMITED if channel is None else robot.effort_limit[channel],
            "velocity": _UNLIMITED if channel is None else robot.velocity_limit[channel],
        }
        if limited:
            limits |= {"lower": model.jnt_range[joint][0], "upper": model.jnt_range[joint][1]}
        elif slides:
            limits |= {"lower": -_UNLIMITED, "upper": _UNLIMITED}
        ElementTree.SubElement(made, "limit", {key: _text(value) for key, value in limits.items()})
        dof = int(model.jnt_dofadr[joint])
        damping, friction = model.dof_damping[dof], model.dof_frictionloss[dof]
        ElementTree.SubElement(made, "dynamics", damping=_text(damping), friction=_text(friction))

    def _link(self, body: int, name: str) -> None:
        model, link = self._model, ElementTree.SubElement(self._root, "link", name=name)
        if model.body_mass[body] > 0.0 or model.body_inertia[body].any():
            inertial = ElementTree.SubElement(link, "inertial")
            _place(inertial, model.body_ipos[body] - self._origin[body], model.body_iquat[body])
            ElementTree.SubElement(inertial, "mass", value=_text(model.body_mass[body]))
            xx, yy, zz = (_text(value) for value in model.body_inertia[body])
            ElementTree.SubElement(inertial, "inertia", ixx=xx, iyy=yy, izz=zz, ixy="0", ixz="0", iyz="0")
        for geom in range(model.body_geomadr[body], model.body_geomadr[body] + model.body_geomnum[body]):
            for place, turn, shape in self._shapes(geom):
                collides = model.geom_contype[geom] or model.geom_conaffinity[geom]
                for kind in ("visual", "collision") if collides else ("visual",):
                    self._shape(ElementTree.SubElement(link, kind), geom, place - self._origin[body], turn, shape)

    def _shape(self, made: Element, geom: int, place: Array, turn: Array, shape: tuple[str, dict[str, str]]) -> None:
        _place(made, place, turn)
        ElementTree.SubElement(ElementTree.SubElement(made, "geometry"), shape[0], shape[1])
        if made.tag == "visual":
            material = ElementTree.SubElement(made, "material", name=f"geom{geom}")
            ElementTree.SubElement(material, "color", rgba=_text(self._model.geom_rgba[geom]))

    def _shapes(self, geom: int) -> list[tuple[Array, Array, tuple[str, dict[str, str]]]]:
        """Shapes of a geom: position and attitude in the body's frame, element and its attributes."""
        model, size = self._model, self._model.geom_size[geom]
        place, turn, kind = model.geom_pos[geom], model.geom_quat[geom], int(model.geom_type[geom])
        if kind == _BOX:
            return [(place, turn, ("box", {"size": _text(2.0 * size)}))]
        if kind == _SPHERE:
            return [(place, turn, ("sphere", {"radius": _text(size[0])}))]
        if kind in (_CYLINDER, _CAPSULE):
            long = ("cylinder", {"radius": _text(size[0]), "length": _text(2.0 * size[1])})
            ends = [rotation.rotate(turn, np.array([0.0, 0.0, side * size[1]])) for side in (-1.0, 1.0)]
            balls = [(place + end, _UNIT, ("sphere", {"radius": _text(size[0])})) for end in ends]
            return [(place, turn, long), *(balls if kind == _CAPSULE else [])]
        return [self._mesh(geom)] if kind == _MESH else []

    def _mesh(self, geom: int) -> tuple[Array, Array, tuple[str, dict[str, str]]]:
        """A mesh, whose own frame MuJoCo has moved to its centre and principal axes."""
        model, mesh = self._model, int(self._model.geom_dataid[geom])
        turn = rotation.multiply(model.geom_quat[geom], rotation.inverse(model.mesh_quat[mesh]))
        place = model.geom_pos[geom] - rotation.rotate(turn, model.mesh_pos[mesh])
        file = (self._folder / self._files.get(model.mesh(mesh).name, "")).resolve()
        return place, turn, ("mesh", {"filename": file.as_uri(), "scale": _text(model.mesh_scale[mesh])})


def _between(joint: Element, parent: str, child: str, place: Array, turn: Array) -> None:
    _place(joint, place, turn)
    ElementTree.SubElement(joint, "parent", link=parent)
    ElementTree.SubElement(joint, "child", link=child)


def _place(element: Element, place: Array, turn: Array) -> None:
    ElementTree.SubElement(element, "origin", xyz=_text(place), rpy=_text(_roll_pitch_yaw(turn)))


def _roll_pitch_yaw(turn: Array) -> Array:
    """Angles (3,) [rad] about the fixed x, y and z axes, in this order, of a quaternion (4,) wxyz."""
    m = rotation.to_matrix(rotation.normalise(turn))
    across = float(np.hypot(m[0, 0], m[1, 0]))
    pitch = np.arctan2(-m[2, 0], across)
    if across < 1e-9:  # gimbal lock: only the sum or difference of roll and yaw is known
        return np.array([np.arctan2(-m[1, 2], m[1, 1]), pitch, 0.0])
    return np.array([np.arctan2(m[2, 1], m[2, 2]), pitch, np.arctan2(m[1, 0], m[0, 0])])


def _text(values: Any) -> str:
    return " ".join(repr(float(value) + 0.0) for value in np.atleast_1d(np.asarray(values, float)))
