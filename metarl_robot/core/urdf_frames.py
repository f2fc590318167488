# SPDX-License-Identifier: Apache-2.0
"""Frames of a URDF's links at given joint positions, as robot_state_publisher computes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core import rotation

Array = NDArray[np.float64]
Element = ElementTree.Element


class Placed(NamedTuple):
    """A frame in another one: position (3,) [m], attitude (4,) wxyz, child→parent."""

    parent: str
    child: str
    position_m: Array
    attitude: Array


class _Joint(NamedTuple):
    """A joint that moves. at_zero: its child's frame at position 0. axis: (3,), in the child's frame."""

    at_zero: Placed
    axis: Array
    slides: bool


class LinkFrames:
    """The links of a URDF document.

    fixed: frames that do not move.
    """

    def __init__(self, urdf: str) -> None:
        joints = list(ElementTree.fromstring(urdf).iter("joint"))
        self.fixed = tuple(_placed(joint) for joint in joints if joint.get("type") == "fixed")
        self._moving = {joint.get("name", ""): _moving(joint) for joint in joints if joint.get("type") != "fixed"}

    def moving(self, positions: Mapping[str, float]) -> list[Placed]:
        """Frames behind joints, at positions by joint name [rad or m]; joints without one are at 0."""
        return [_at(joint, positions.get(name, 0.0)) for name, joint in self._moving.items()]


def _at(joint: _Joint, position: float) -> Placed:
    parent, child, place, turn = joint.at_zero
    along = position * joint.axis
    if joint.slides:
        return Placed(parent, child, place + rotation.rotate(turn, along), turn)
    return Placed(parent, child, place, rotation.multiply(turn, rotation.exp(along)))


def _moving(joint: Element) -> _Joint:
    axis = joint.find("axis")
    along = _values(axis, "xyz", "1 0 0")
    return _Joint(_placed(joint), along / np.linalg.norm(along), joint.get("type") == "prismatic")


def _placed(joint: Element) -> Placed:
    origin = joint.find("origin")
    roll, pitch, yaw = _values(origin, "rpy", "0 0 0")
    turns = (rotation.exp(angle * axis) for angle, axis in zip((yaw, pitch, roll), np.eye(3)[::-1], strict=True))
    about_z, about_y, about_x = turns
    attitude = rotation.multiply(rotation.multiply(about_z, about_y), about_x)
    return Placed(_link(joint, "parent"), _link(joint, "child"), _values(origin, "xyz", "0 0 0"), attitude)


def _link(joint: Element, role: str) -> str:
    found = joint.find(role)
    return "" if found is None else found.get("link", "")


def _values(element: Element | None, key: str, default: str) -> Array:
    text = default if element is None else element.get(key, default)
    return np.array([float(value) for value in text.split()])
