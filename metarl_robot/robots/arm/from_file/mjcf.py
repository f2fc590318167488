# SPDX-License-Identifier: Apache-2.0
"""Reads an MJCF with MuJoCo; missing assets are left out if the dynamics do not need them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mujoco
import numpy as np

from metarl_robot.core.errors import RobotError, one_line, shown
from metarl_robot.core.mjcf_file import check_mjcf
from metarl_robot.core.xml_tree import Element, read_tree
from metarl_robot.robots.arm.from_file.source import Source
from metarl_robot.robots.new_robot.findings import Findings

_OFF = {
    mujoco.mjtDisableBit.mjDSBL_SPRING: "springs are switched off",
    mujoco.mjtDisableBit.mjDSBL_DAMPER: "dampers are switched off",
    mujoco.mjtDisableBit.mjDSBL_ACTUATION: "motors are switched off",
    mujoco.mjtDisableBit.mjDSBL_GRAVITY: "gravity is switched off",
}


def read_mjcf(path: Path, mesh_dirs: Sequence[Path], findings: Findings) -> Source:
    """Read an MJCF. Raises RobotError with element and remedy."""
    check_mjcf(path)
    try:
        spec = mujoco.MjSpec.from_file(str(path))
    except Exception as error:  # MuJoCo's own errors, ValueError, RuntimeError
        raise RobotError(f"{path}: MuJoCo cannot read it: {one_line(error)}") from error
    _drop_textures(spec)
    _find_meshes(spec, path, mesh_dirs, findings)
    spec.compiler.fusestatic = spec.compiler.discardvisual = False
    _name_all(spec, findings)
    try:
        model = spec.compile()
    except Exception as error:
        raise RobotError(f"{path}: MuJoCo cannot compile it: {one_line(error)}") from error
    _check_options(path, spec, model, findings)
    return Source(path, False, model, _lines(path), _base(path, model))


def _lines(path: Path) -> dict[tuple[str, str], int]:
    """Lines of the named elements of the file itself; an actuator of any tag counts as 'actuator'."""
    lines: dict[tuple[str, str], int] = {}
    for element in read_tree(path).walk():
        for child in element.children:
            lines[_tag(element, child), child.attributes.get("name", "")] = child.line
    return lines


def _tag(parent: Element, child: Element) -> str:
    if child.tag == "freejoint":
        return "joint"
    return parent.tag if parent.tag in ("actuator", "equality", "tendon") else child.tag


def _base(path: Path, model: mujoco.MjModel) -> str:
    if model.nbody < 2:
        raise RobotError(f"{path}: has no body; an arm has a <body> for each link")
    return str(model.body(1).name)


def _drop_textures(spec: Any) -> None:
    """Remove textures: only colours are kept for pictures."""
    for material in spec.materials:
        material.textures = [""] * len(material.textures)
    for texture in list(spec.textures):
        spec.delete(texture)
    for skin in list(spec.skins):
        spec.delete(skin)


def _find_meshes(spec: Any, path: Path, mesh_dirs: Sequence[Path], findings: Findings) -> None:
    """Point the meshes to their files; remove those that are missing and that no inertia needs."""
    own = Path(spec.modelfiledir or path.parent) / (spec.meshdir or "")
    spec.meshdir = ""
    for mesh in list(spec.meshes):
        if not mesh.file:
            continue
        folders = (own, path.parent, *mesh_dirs)
        found = [folder / name for folder in folders for name in (mesh.file, Path(mesh.file).name)]
        file = next((candidate for candidate in found if candidate.is_file()), None)
        if file is None:
            _drop_mesh(spec, mesh, path, findings)
        else:
            mesh.name, mesh.file = mesh.name or Path(mesh.file).stem, str(file.resolve())


def _drop_mesh(spec: Any, mesh: Any, path: Path, findings: Findings) -> None:
    name = mesh.name or Path(mesh.file).stem
    for geom in list(spec.geoms):
        if geom.meshname == name:
            if _weighs(spec, geom):
                said = f"mesh '{name}' ({shown(mesh.file)}) is not found, and body '{geom.parent.name}' has its inertia"
                raise RobotError(f"{path}: {said} from it; give --mesh-dir, or an <inertial> to the body")
            spec.delete(geom)
    spec.delete(mesh)
    findings.warnings.append(
        f"mesh '{name}' ({shown(mesh.file)}) is not found (--mesh-dir); it is missing in pictures, the dynamics do not "
        "need it"
    )


def _weighs(spec: Any, geom: Any) -> bool:
    """Whether the inertia of a geom's body comes from it."""
    by_geoms = spec.compiler.inertiafromgeom
    if by_geoms == mujoco.mjtInertiaFromGeom.mjINERTIAFROMGEOM_AUTO:
        by_geoms = not geom.parent.explicitinertial
    least, most = spec.compiler.inertiagrouprange
    return bool(by_geoms and geom.mass != 0.0 and geom.density != 0.0 and least <= geom.group <= most)


def _name_all(spec: Any, findings: Findings) -> None:
    """Name the joints and bodies that have no name."""
    taken = {joint.name for joint in spec.joints}
    for i, joint in enumerate(spec.joints):
        if not joint.name:
            joint.name = _free(f"joint{i + 1}", taken)
            findings.changes.append(f"a joint of body '{joint.parent.name}' has no name: it is called '{joint.name}'")
    taken = {body.name for body in spec.bodies}
    for i, body in enumerate(spec.bodies):
        if not body.name:
            body.name = _free(f"link{i}", taken)


def _free(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    taken.add(name)
    return name


def _check_options(path: Path, spec: Any, model: mujoco.MjModel, findings: Findings) -> None:
    """Refuse disabled physics; report parts that are left out and inertias that the compiler changes."""
    for bit, said in _OFF.items():
        if model.opt.disableflags & int(bit):
            raise RobotError(f"{path}: option: flag: {said}; remove the flag, or write the values as they act")
    for joint in spec.joints:
        if joint.range[0] > joint.range[1]:
            said = f"joint '{joint.name}' has the range {joint.range[0]:g} … {joint.range[1]:g}, which MuJoCo ignores"
            raise RobotError(f"{path}: {said}; the lower bound comes first")
    for index in range(model.nu):
        if model.opt.disableactuator >> int(model.actuator_group[index]) & 1:
            said = f"actuator '{model.actuator(index).name}' is switched off by actuatorgroupdisable"
            raise RobotError(f"{path}: {said}; remove one of both")
    if model.opt.density or model.opt.viscosity:
        findings.changes.append("density and viscosity of the air are left out: the nominal model has no drag")
    unused = [
        f"{count} {name}"
        for name, count in (("sensors", model.nsensor), ("cameras", model.ncam), ("contact pairs", model.npair))
        if count
    ]
    if np.any(model.geom_contype) or np.any(model.geom_conaffinity):
        unused.append("contacts of geoms")
    if unused:
        findings.changes.append(f"left out: {', '.join(unused)}")
    changed = [name for name in ("boundmass", "boundinertia", "balanceinertia") if getattr(spec.compiler, name)]
    if spec.compiler.settotalmass > 0.0:
        changed.append("settotalmass")
    if changed:
        findings.changes.append(f"masses and inertias are those that MuJoCo makes of the file by {', '.join(changed)}")
    weights = {model.body(b).name: float(model.body_mass[b]) for b in range(model.nbody)}
    inferred = [body.name for body in spec.bodies[1:] if not body.explicitinertial and weights[body.name] > 0.0]
    if inferred:
        findings.changes.append(f"MuJoCo computes mass and inertia from the geoms of: {', '.join(inferred)}")
