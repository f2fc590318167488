# SPDX-License-Identifier: Apache-2.0
"""Reads an untrusted XML file, within bounds, into a tree of elements with line numbers.

A document type, which may declare entities, is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.parsers import expat
from xml.sax.saxutils import quoteattr

from metarl_robot.core.errors import RobotError
from metarl_robot.core.mjcf_file import MOST_DEPTH, MOST_ELEMENTS, parse_bounded


@dataclass
class Element:
    """An XML element without its text. line: of its start in the file."""

    tag: str
    attributes: dict[str, str]
    line: int
    children: list[Element] = field(default_factory=list)

    def all(self, tag: str) -> Iterator[Element]:
        """The children with a tag."""
        return (child for child in self.children if child.tag == tag)

    def first(self, tag: str) -> Element | None:
        """The first child with a tag."""
        return next(self.all(tag), None)

    def get(self, tag: str, key: str) -> str | None:
        """An attribute of the first child with a tag."""
        child = self.first(tag)
        return None if child is None else child.attributes.get(key)

    def walk(self) -> Iterator[Element]:
        """This element and all below it, in the file's order."""
        yield self
        for child in self.children:
            yield from child.walk()

    def to_xml(self) -> str:
        """The element as text."""
        attributes = "".join(f" {key}={quoteattr(value)}" for key, value in self.attributes.items())
        inside = "".join(child.to_xml() for child in self.children)
        return f"<{self.tag}{attributes}>{inside}</{self.tag}>" if inside else f"<{self.tag}{attributes}/>"


def read_tree(path: Path) -> Element:
    """Read a file. Raises RobotError: unreadable, not XML, or beyond a bound."""
    builder = _Builder(path)
    parse_bounded(path, builder.parser)
    return builder.root


class _Builder:
    """Builds the tree from the parser's events."""

    root: Element

    def __init__(self, path: Path) -> None:
        self._path, self._open, self._count = path, list[Element](), 0
        self.parser = expat.ParserCreate()
        self.parser.StartElementHandler, self.parser.EndElementHandler = self._start, self._end
        self.parser.StartDoctypeDeclHandler = self._doctype

    def _doctype(self, *_: Any) -> None:
        line = self.parser.CurrentLineNumber
        raise RobotError(f"{self._path}: line {line}: a document type, which may declare entities, is not allowed")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        line, self._count = self.parser.CurrentLineNumber, self._count + 1
        if len(self._open) >= MOST_DEPTH or self._count > MOST_ELEMENTS:
            said = f"at most {MOST_ELEMENTS} elements, nested {MOST_DEPTH} deep, are allowed"
            raise RobotError(f"{self._path}: line {line}: {said}")
        element = Element(name, attributes, line)
        if self._open:
            self._open[-1].children.append(element)
        else:
            self.root = element
        self._open.append(element)

    def _end(self, name: str) -> None:
        self._open.pop()
