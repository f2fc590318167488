# SPDX-License-Identifier: Apache-2.0
"""Checks an MJCF file before MuJoCo reads it; refuses content that would hang, exhaust or crash the process.

Fuzzing MuJoCo 4 found these: a model asset that names its own file is a segmentation fault; a `replicate` of 10^8 or
an `nkey` of 2·10^9 never ends. A document type (entities) is refused, and sizes and numbers have bounds. Included
files are checked too.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.parsers import expat

from metarl_robot.core.errors import RobotError, shortened, shown

MOST_BYTES = 4 << 20
MOST_ELEMENTS = 20_000
MOST_DEPTH = 100
MOST_FILES = 20
LARGEST_NUMBER = 1e10
LARGEST_COUNT = 8192
_GENERATORS = ("replicate", "composite", "flexcomp", "flex", "hfield", "model", "attach", "plugin", "extension")
_COUNTS = {
    "size": None,  # all attributes
    "texture": ("width", "height", "nchannel", "gridsize"),
    "sensor": ("nsample",),
    "option": ("iterations", "noslip_iterations", "ccd_iterations", "sdf_iterations", "sdf_initpoints"),
    "mesh": ("maxhullvert", "octree_maxdepth"),
}
_REMEDY = "write the model out: mujoco.mj_saveLastXML saves it compiled"


def check_mjcf(path: Path) -> None:
    """Check a file and its includes.

    Raises:
        RobotError: MuJoCo must not read the file; the message names file, line, given and allowed values.
    """
    waiting, seen = [path], {path}
    while waiting:
        file = waiting.pop()
        for name in _included(file):
            other = path.parent / name
            if other in seen or len(seen) >= MOST_FILES:
                raise RobotError(f"{file}: includes {shown(name)} again, or more than {MOST_FILES} files")
            seen.add(other)
            waiting.append(other)


def parse_bounded(path: Path, parser: expat.XMLParserType) -> None:
    """Parse an XML file of at most MOST_BYTES. Raises RobotError: unreadable, too large, or not XML."""
    try:
        with path.open("rb") as file:
            raw = file.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        raise RobotError(f"{shortened(str(path))}: cannot be read: {shortened(str(error))}") from error
    if len(raw) > MOST_BYTES:
        raise RobotError(f"{path}: is larger than the {MOST_BYTES} bytes that are allowed")
    try:
        parser.Parse(raw, True)
    except expat.ExpatError as error:
        raise RobotError(f"{path}: not valid XML: {error}") from error


def _included(path: Path) -> Iterator[str]:
    """Check one file and yield the names of its includes."""
    look = _Look(path)
    parse_bounded(path, look.parser)
    yield from look.includes


class _Look:
    """Checks one file, element by element."""

    def __init__(self, path: Path) -> None:
        self._path, self._depth, self._count = path, 0, 0
        self.includes: list[str] = []
        self.parser = expat.ParserCreate("utf-8")
        self.parser.StartElementHandler, self.parser.EndElementHandler = self._start, self._end
        self.parser.StartDoctypeDeclHandler = self._doctype

    def _refuse(self, said: str) -> RobotError:
        return RobotError(f"{self._path}: line {self.parser.CurrentLineNumber}: {said}")

    def _doctype(self, *_: Any) -> None:
        raise self._refuse("a document type, which may declare entities, is not allowed")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth, self._count = self._depth + 1, self._count + 1
        if self._depth > MOST_DEPTH or self._count > MOST_ELEMENTS:
            raise self._refuse(f"at most {MOST_ELEMENTS} elements, nested {MOST_DEPTH} deep, are allowed")
        if name in _GENERATORS:
            raise self._refuse(f"element '{name}' is not allowed in a robot's file; {_REMEDY}")
        if name == "include":
            self.includes.append(attributes.get("file", ""))
        for key, value in attributes.items():
            self._check_attribute(name, key, value)

    def _end(self, name: str) -> None:
        self._depth -= 1

    def _check_attribute(self, element: str, key: str, value: str) -> None:
        numbers = _numbers(value) if key not in ("name", "file", "class", "childclass") else []
        counts = _COUNTS.get(element, ("nsample", "count"))
        largest = LARGEST_COUNT if counts is None or key in counts else LARGEST_NUMBER
        if element == "size" and key == "memory":
            raise self._refuse("'memory' is not allowed; MuJoCo finds by itself how much it needs")
        for number in numbers:
            if not math.isfinite(number) or abs(number) > largest:
                said = f"{element}: {key}: numbers must be finite and at most {largest:g}"
                raise self._refuse(f"{said}; given: {shown(value)}")


def _numbers(value: str) -> list[float]:
    """The numbers of an attribute; empty if it is text."""
    try:
        return [float(part) for part in value.split()]
    except ValueError:
        return []
