# SPDX-License-Identifier: Apache-2.0
"""Reads a URDF: limits and mimic joints from the file itself, the rest with MuJoCo.

MuJoCo reads a copy that contains only links and joints. Pictures come from <visual>, or from <collision> where a link
has no <visual>; meshes that are not found are left out. Dynamics come from <inertial> alone.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import mujoco

from metarl_robot.core.errors import RobotError, one_line, shown
from metarl_robot.core.xml_tree import Element, read_tree
from metarl_robot.robots.arm.from_file.inertias import repair_inertias
from metarl_robot.robots.arm.from_file.meshes import FORMATS, find_mesh
from metarl_robot.robots.arm.from_file.source import Source
from metarl_robot.robots.arm.from_file.urdf_names import check_names
from metarl_robot.robots.new_robot.findings import Findings
from metarl_robot.robots.new_robot.options import Options

_JOINTS = ("revolute", "continuous", "prismatic", "fixed")
_LARGEST = 1e6
_COMPILER = {"strippath": "false", "fusestatic": "false", "discardvisual": "false"}
_LEAST_MASS_KG = 1e-9
_NUMERIC = {"xyz", "rpy", "lower", "upper", "effort", "velocity", "damping", "friction", "multiplier"}
_NUMERIC |= {"offset", "ixx", "iyy", "izz", "ixy", "ixz", "iyz", "radius", "length", "size", "scale", "rgba"}
_COPYS_LINE = re.compile(r", line \d+")
_ELEMENT = re.compile(r"Element name '([^']+)'")


def read_urdf(path: Path, options: Options, findings: Findings) -> Source:
    """Read a URDF. Raises RobotError with line and remedy."""
    root = read_tree(path)
    if root.tag != "robot":
        raise RobotError(f"{path}: line {root.line}: a URDF's first element is <robot>; given: <{root.tag}>")
    _refuse_xacro(path, root)
    links, joints = list(root.all("link")), list(root.all("joint"))
    for element in (*links, *joints):
        _check_numbers(path, element)
    check_names(path, links, joints, findings)
    _check_unique(path, (*links, *joints), joints)
    for joint in joints:
        _check_joint(path, joint)
    for extension in root.all("mujoco"):
        findings.changes.append(f"<mujoco> (line {extension.line}), settings for MuJoCo alone, is left out")
    repair_inertias(path, links, options.repair_inertias, findings)
    _check_inertials(path, links, joints, options, findings)
    copies = [_pictured(link, path, options.mesh_dirs, findings) for link in links]
    compiler = Element("mujoco", {}, 0, [Element("compiler", _COMPILER, 0)])
    copy = Element("robot", {"name": root.attributes.get("name", "robot")}, 0, [compiler, *copies, *joints])
    mimics = frozenset(joint.attributes["name"] for joint in joints if joint.first("mimic") is not None)
    lines = {(element.tag, element.attributes["name"]): element.line for element in (*links, *joints)}
    return Source(
        path, True, _compiled(path, copy, lines), lines, _base(path, links, joints), _velocities(joints), mimics
    )


def _compiled(path: Path, copy: Element, lines: Mapping[tuple[str, str], int]) -> mujoco.MjModel:
    try:
        with warnings.catch_warnings(action="ignore"):  # about textures of meshes
            return mujoco.MjSpec.from_string(copy.to_xml()).compile()
    except Exception as error:  # MuJoCo's own errors, ValueError, RuntimeError
        said = _COPYS_LINE.sub("", one_line(error))
        named = _ELEMENT.search(said)
        own = [lines[tag, named[1]] for tag in ("link", "joint") if named and (tag, named[1]) in lines]
        place = f": line {own[0]}" if own else ""
        raise RobotError(f"{path}{place}: MuJoCo cannot read it: {said}") from error


def _refuse_xacro(path: Path, root: Element) -> None:
    for element in root.walk():
        if element.tag.startswith("xacro:"):
            raise RobotError(
                f"{path}: line {element.line}: <{element.tag}> is a macro; write it out: xacro {path.name} > robot.urdf"
            )


def _check_numbers(path: Path, element: Element) -> None:
    """Refuse invalid, infinite or too large numbers, and elements without a name."""
    if not element.attributes.get("name"):
        raise RobotError(f"{path}: line {element.line}: <{element.tag}> has no name; give it one")
    for part in element.walk():
        for key, value in part.attributes.items():
            numbers, numeric = _numbers(value), key in _NUMERIC or (part.tag, key) == ("mass", "value")
            if numeric and (not numbers or any(not abs(number) <= _LARGEST for number in numbers)):
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
    if kind not in ("revolute", "prismatic"):
        return
    if limit is None or not {"lower", "upper"} & limit.attributes.keys():
        remedy = "give <limit lower= upper=>, or the type 'continuous' to a joint that turns without end"
        raise RobotError(f"{path}: line {joint.line}: joint '{name}' of type '{kind}' has no limits; {remedy}")
    lower, upper = (float(limit.attributes.setdefault(key, "0")) for key in ("lower", "upper"))
    if not lower < upper:
        said = f"joint '{name}' has the limits [{lower:g}, {upper:g}]; lower must be below upper"
        raise RobotError(f"{path}: line {limit.line}: {said}; make a joint that does not move 'fixed'")


def _check_unique(path: Path, elements: Sequence[Element], joints: Sequence[Element]) -> None:
    """Refuse names that are given twice, and links with two parents."""
    seen: set[tuple[str, str]] = set()
    for element in elements:
        key = element.tag, element.attributes["name"]
        if key in seen:
            said = f"{element.tag} '{element.attributes['name']}' is given twice"
            raise RobotError(f"{path}: line {element.line}: {said}; rename one")
        seen.add(key)
    children: set[str] = set()
    for joint in joints:
        for side in ("parent", "child"):
            if ("link", _end(joint, side)) not in seen:
                said = f"joint '{joint.attributes['name']}' has the {side} {shown(_end(joint, side))}"
                raise RobotError(f"{path}: line {joint.line}: {said}, which is no link; correct the name")
        if _end(joint, "child") in children:
            said = f"link '{_end(joint, 'child')}' is the child of two joints"
            raise RobotError(f"{path}: line {joint.line}: {said}: an arm is a tree without loops; remove one joint")
        children.add(_end(joint, "child"))


def _check_inertials(
    path: Path, links: Sequence[Element], joints: Sequence[Element], options: Options, findings: Findings
) -> None:
    """Refuse links without mass that a driven joint moves; report links with a shape but no mass.

    MuJoCo needs a mass behind every joint, so that one that is held gets _LEAST_MASS_KG.
    """
    fixed = {_end(j, "child"): _end(j, "parent") for j in joints if j.attributes["type"] == "fixed"}
    heavy = {_group(link.attributes["name"], fixed) for link in links if _mass(link) > _LEAST_MASS_KG}
    of = {link.attributes["name"]: link for link in links}
    for joint in joints:
        child = _end(joint, "child")
        if joint.attributes["type"] == "fixed" or child not in of or child in heavy:
            continue
        name = joint.attributes["name"]
        if not _is_held(name, options):
            said = f"link '{child}', which joint '{name}' moves, has no mass"
            held = f"hold the joint: --lock {name}=VALUE, or name the driven ones with --joints"
            raise RobotError(f"{path}: line {of[child].line}: {said}; give it an <inertial>, or {held}")
        _make_heavy(of[child])
    for link in links:
        shapes = link.first("visual") is not None or link.first("collision") is not None
        if shapes and _mass(link) == 0.0 and link.attributes["name"] in {_end(joint, "child") for joint in joints}:
            findings.warnings.append(
                f"link '{link.attributes['name']}' (line {link.line}) has a shape but no <inertial>: it weighs nothing"
            )


def _is_held(joint: str, options: Options) -> bool:
    return joint in options.lock or bool(options.joints and joint not in options.joints)


def _make_heavy(link: Element) -> None:
    """Give a link the least mass that MuJoCo moves."""
    moments = dict.fromkeys(("ixx", "iyy", "izz"), repr(_LEAST_MASS_KG))
    moments |= dict.fromkeys(("ixy", "ixz", "iyz"), "0")
    parts = [Element("mass", {"value": repr(2.0 * _LEAST_MASS_KG)}, link.line), Element("inertia", moments, link.line)]
    link.children[:] = [child for child in link.children if child.tag != "inertial"]
    link.children.append(Element("inertial", {}, link.line, parts))


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
    """Colours defined in the shape itself."""
    for material in shape.all("material"):
        colours = list(material.all("color"))
        if colours:
            yield Element("material", material.attributes, material.line, colours)
