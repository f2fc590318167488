# SPDX-License-Identifier: Apache-2.0
"""Reads a URDF: limits and mimic joints from the file itself, the rest by MuJoCo.

MuJoCo reads a copy that holds links and joints only. Pictures come from <visual>, or from <collision> where a link has
no <visual>; meshes that are not found are left out. Dynamics come from <inertial> alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import mujoco

from metarl_robot.core.errors import RobotError, one_line, shown
from metarl_robot.core.xml_tree import Element, read_tree
from metarl_robot.robots.arm.from_file.meshes import FORMATS, find_mesh
from metarl_robot.robots.arm.from_file.source import Source
from metarl_robot.robots.new_robot.findings import Findings

_JOINTS = ("revolute", "continuous", "prismatic", "fixed")
_LARGEST = 1e6
_COMPILER = {"strippath": "false", "fusestatic": "false", "discardvisual": "false"}
_LEAST_MASS_KG = 1e-9


def read_urdf(path: Path, mesh_dirs: Sequence[Path], findings: Findings) -> Source:
    """Read a URDF. Raises RobotError with line and remedy."""
    root = read_tree(path)
    if root.tag != "robot":
        raise RobotError(f"{path}: line {root.line}: a URDF's first element is <robot>; given: <{root.tag}>")
    _refuse_xacro(path, root)
    links, joints = list(root.all("link")), list(root.all("joint"))
    for element in (*links, *joints):
        _check_numbers(path, element)
    for joint in joints:
        _check_joint(path, joint)
    _check_inertials(path, links, joints, findings)
    copies = [_pictured(link, path, mesh_dirs, findings) for link in links]
    compiler = Element("mujoco", {}, 0, [Element("compiler", _COMPILER, 0)])
    copy = Element("robot", {"name": root.attributes.get("name", "robot")}, 0, [compiler, *copies, *joints])
    mimics = frozenset(joint.attributes["name"] for joint in joints if joint.first("mimic") is not None)
    lines = {(element.tag, element.attributes["name"]): element.line for element in (*links, *joints)}
    return Source(path, True, _compiled(path, copy), lines, _base(path, links, joints), _velocities(joints), mimics)


def _compiled(path: Path, copy: Element) -> mujoco.MjModel:
    try:
        return mujoco.MjSpec.from_string(copy.to_xml()).compile()
    except Exception as error:  # MuJoCo's own errors, ValueError, RuntimeError
        raise RobotError(f"{path}: MuJoCo cannot read it: {one_line(error)}") from error


def _refuse_xacro(path: Path, root: Element) -> None:
    for element in root.walk():
        if element.tag.startswith("xacro:"):
            raise RobotError(
                f"{path}: line {element.line}: <{element.tag}> is a macro; write it out: xacro {path.name} > robot.urdf"
            )


def _check_numbers(path: Path, element: Element) -> None:
    """Refuse numbers that are not finite or too large, and elements without a name."""
    if not element.attributes.get("name"):
        raise RobotError(f"{path}: line {element.line}: <{element.tag}> has no name; give it one")
    for part in element.walk():
        for key, value in part.attributes.items():
            if part.tag not in ("mesh", "texture") and any(not abs(n) <= _LARGEST for n in _numbers(value)):
                said = f"{part.tag}: {key}: numbers must be finite and at most {_LARGEST:g}; given: {shown(value)}"
                raise RobotError(f"{path}: line {part.line}: {said}")


def _numbers(value: str) -> list[float]:
    try:
        return [float(part) for part in value.split()]
    except ValueError:
        return []


def _check_joint(path: Path, joint: Element) -> None:
    kind, name = joint.attributes.get("type", ""), joint.attributes["name"]
    if kind not in _JOINTS:
        said = f"joint '{name}' is of type {shown(kind)}; an arm has {', '.join(_JOINTS)} joints"
        raise RobotError(f"{path}: line {joint.line}: {said}: make it one of these")
    limit = joint.first("limit")
    if kind in ("revolute", "prismatic") and (limit is None or not {"lower", "upper"} & limit.attributes.keys()):
        remedy = "give <limit lower= upper=>, or the type 'continuous' to a joint that turns without end"
        raise RobotError(f"{path}: line {joint.line}: joint '{name}' of type '{kind}' has no limits; {remedy}")


def _check_inertials(path: Path, links: Sequence[Element], joints: Sequence[Element], findings: Findings) -> None:
    """Refuse moving links whose rigid group has no mass; tell of links with a shape and without a mass."""
    fixed = {_end(j, "child"): _end(j, "parent") for j in joints if j.attributes["type"] == "fixed"}
    heavy = {_group(link.attributes["name"], fixed) for link in links if _mass(link) > _LEAST_MASS_KG}
    of = {link.attributes["name"]: link for link in links}
    for joint in joints:
        child = _end(joint, "child")
        if joint.attributes["type"] != "fixed" and child in of and child not in heavy:
            said = f"link '{child}', which joint '{joint.attributes['name']}' moves, has no mass"
            raise RobotError(f"{path}: line {of[child].line}: {said}; give it an <inertial> with mass and inertia")
    for link in links:
        shapes = link.first("visual") is not None or link.first("collision") is not None
        if shapes and _mass(link) == 0.0 and link.attributes["name"] in {_end(joint, "child") for joint in joints}:
            findings.warnings.append(
                f"link '{link.attributes['name']}' (line {link.line}) has a shape but no <inertial>: it weighs nothing"
            )


def _group(link: str, fixed: dict[str, str]) -> str:
    """First link of the rigid group of a link."""
    seen: set[str] = set()
    while link in fixed and link not in seen:
        seen.add(link)
        link = fixed[link]
    return link


def _mass(link: Element) -> float:
    inertial = link.first("inertial")
    numbers = _numbers((inertial.get("mass", "value") or "") if inertial is not None else "")
    return numbers[0] if numbers else 0.0


def _end(joint: Element, side: str) -> str:
    return joint.get(side, "link") or ""


def _base(path: Path, links: Sequence[Element], joints: Sequence[Element]) -> str:
    children = {_end(joint, "child") for joint in joints}
    roots = [link.attributes["name"] for link in links if link.attributes["name"] not in children]
    if len(roots) != 1:
        said = f"one link must be the root, the child of no joint; there are {len(roots)}: {shown(roots)}"
        raise RobotError(f"{path}: {said}; connect them by fixed joints")
    return roots[0]


def _velocities(joints: Sequence[Element]) -> dict[str, float]:
    found: dict[str, float] = {}
    for joint in joints:
        numbers = _numbers(joint.get("limit", "velocity") or "")
        if numbers and math.isfinite(numbers[0]) and numbers[0] > 0.0:
            found[joint.attributes["name"]] = numbers[0]
    return found


def _pictured(link: Element, path: Path, mesh_dirs: Sequence[Path], findings: Findings) -> Element:
    """A copy of a link with the shapes that can be drawn."""
    drawn = list(link.all("visual")) or list(link.all("collision"))
    shapes = [found for shape in drawn if (found := _drawable(shape, link, path, mesh_dirs, findings)) is not None]
    return Element(link.tag, link.attributes, link.line, [*link.all("inertial"), *shapes])


def _drawable(
    shape: Element, link: Element, path: Path, mesh_dirs: Sequence[Path], findings: Findings
) -> Element | None:
    """A shape as <visual>, its mesh by absolute path; None if the mesh is not found."""
    geometry = shape.first("geometry")
    if geometry is None:
        return None
    mesh = geometry.first("mesh")
    if mesh is not None:
        name = mesh.attributes.get("filename", "")
        file = find_mesh(name, path, mesh_dirs)
        if file is None or file.suffix.lower() not in FORMATS:
            why = "is not found (--mesh-dir)" if file is None else f"is none of {', '.join(FORMATS)}"
            findings.warnings.append(
                f"link '{link.attributes['name']}' (line {mesh.line}): mesh {shown(name)} {why}; it is missing in "
                "pictures, the dynamics do not need it"
            )
            return None
        geometry = Element("geometry", {}, geometry.line, [Element("mesh", _with_file(mesh, file), mesh.line)])
    return Element("visual", {}, shape.line, [*shape.all("origin"), *_materials(shape), geometry])


def _with_file(mesh: Element, file: Path) -> dict[str, str]:
    return {**mesh.attributes, "filename": str(file)}


def _materials(shape: Element) -> Iterator[Element]:
    """Colours that stand in the shape itself."""
    for material in shape.all("material"):
        colours = list(material.all("color"))
        if colours:
            yield Element("material", material.attributes, material.line, colours)
