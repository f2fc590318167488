# SPDX-License-Identifier: Apache-2.0
"""Names and angles in a URDF that readers would ignore in silence: they are refused or reported.

URDF readers ignore elements and attributes that they do not know. An `<orgin>` then places a joint at its parent, and a
`quat_xyzw` is no rotation at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from math import tau
from pathlib import Path

from metarl_robot.core.errors import RobotError, shown
from metarl_robot.core.xml_tree import Element
from metarl_robot.robots.new_robot.findings import Findings

_CHILDREN = {
    "joint": ("origin", "parent", "child", "axis", "limit", "dynamics", "mimic", "calibration", "safety_controller"),
    "link": ("inertial", "visual", "collision"),
    "inertial": ("origin", "mass", "inertia"),
}
_ATTRIBUTES = {
    "joint": ("name", "type"),
    "origin": ("xyz", "rpy"),
    "axis": ("xyz",),
    "parent": ("link",),
    "child": ("link",),
    "limit": ("lower", "upper", "effort", "velocity"),
    "dynamics": ("damping", "friction"),
    "mimic": ("joint", "multiplier", "offset"),
    "mass": ("value",),
    "inertia": ("ixx", "iyy", "izz", "ixy", "ixz", "iyz"),
}
_SYMMETRIC = {"iyx", "izx", "izy"}
_ALIKE = {"element": 0.75, "attribute": 0.8}
"""Least likeness (difflib ratio) of a misspelt name. `axes` is one; `gear_velocity`, which real files have, is not."""
_LARGEST_RAD = 1.001 * tau


def check_names(path: Path, links: Sequence[Element], joints: Sequence[Element], findings: Findings) -> None:
    """Refuse misspelt names, rotations in another form or unit; report what is not read. Raises RobotError."""
    unread: set[str] = set()
    for element in (*links, *joints):
        for part in _parts(element):
            unread |= {f"{part.tag}: {name}" for name in _unread(path, part)}
        for origin in (*element.all("origin"), *(o for i in element.all("inertial") for o in i.all("origin"))):
            _check_angles(path, origin)
    if unread:
        findings.changes.append(f"not read: {', '.join(sorted(unread))}")


def _parts(element: Element) -> Iterator[Element]:
    """A joint with its children, or a link with its inertial and that one's children."""
    yield element
    if element.tag == "joint":
        yield from (child for child in element.children if child.tag in _ATTRIBUTES)
    for inertial in element.all("inertial"):
        yield inertial
        yield from (child for child in inertial.children if child.tag in _ATTRIBUTES)


def _unread(path: Path, part: Element) -> Iterator[str]:
    """Names in an element that are not read; of a link only those that are misspelt."""
    for kind, names, known in (
        ("element", {child.tag for child in part.children}, _CHILDREN.get(part.tag)),
        ("attribute", set(part.attributes) - _SYMMETRIC, _ATTRIBUTES.get(part.tag)),
    ):
        for name in sorted(names - set(known or names)):
            meant = get_close_matches(name.lower(), known or (), 1, _ALIKE[kind])
            if meant or part.tag == "origin":
                remedy = f"write {meant[0]}" if meant else f"allowed: {', '.join(known or ())}"
                said = f"<{part.tag}> has the {kind} {shown(name)}, which is not read"
                raise RobotError(f"{path}: line {part.line}: {said}; {remedy}")
            if part.tag != "link":
                yield name


def _check_angles(path: Path, origin: Element) -> None:
    angles = [float(angle) for angle in origin.attributes.get("rpy", "").split()]
    if any(abs(angle) > _LARGEST_RAD for angle in angles):
        said = f"origin: rpy: angles are in rad, within a turn; given: {shown(origin.attributes['rpy'])}: degrees?"
        raise RobotError(f"{path}: line {origin.line}: {said} Write them in rad")
